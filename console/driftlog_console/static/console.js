// What a page does besides showing itself: it is told what has changed and reads that part again, and it can be used by keyboard alone.
// Without this script everything can be read and decided too.
"use strict";

(() => {
  const NAMES = ["conflicts", "devices", "fleet", "flow", "groups", "waiting", "documents"];
  const LEAST_WAIT_MS = 1000;
  const MOST_WAIT_MS = 60000;
  const KEY = "driftlog.shortcuts";
  const broken = document.getElementById("stream");

  // -- changes: names only; a part that somebody writes in is left alone.

  const tell = (name) => document.body.dispatchEvent(new CustomEvent("driftlog:" + name));
  const all = () => NAMES.forEach(tell);

  let stream;
  let lost = false;
  let wait = LEAST_WAIT_MS;
  const listen = () => {
    // What has changed between the making of this page and the opening of the stream is told first.
    stream = new EventSource("/live?since=" + encodeURIComponent(document.body.dataset.since));
    stream.onopen = () => {
      broken.hidden = true;
      wait = LEAST_WAIT_MS;
      if (lost) all();
      lost = false;
    };
    stream.onerror = () => {
      lost = true;
      broken.hidden = false;
      // A browser tries again by itself where a connection is lost, and gives up at an answer that is no stream, as a proxy's is while the console starts.
      if (stream.readyState !== EventSource.CLOSED) return;
      setTimeout(listen, wait);
      wait = Math.min(2 * wait, MOST_WAIT_MS);
    };
    NAMES.forEach((name) => stream.addEventListener(name, () => tell(name)));
  };
  listen();
  document.addEventListener("visibilitychange", () => document.hidden || all());
  window.addEventListener("pagehide", () => stream.close());
  window.addEventListener("pageshow", (event) => event.persisted && location.reload());

  const typed = (part) =>
    [...part.querySelectorAll("textarea, input:not([type=checkbox]):not([type=hidden])")].some((one) => one.value !== one.defaultValue);
  document.body.addEventListener("htmx:before:swap", (event) => {
    const part = document.getElementById("live");
    const chosen = part && part.querySelector("input[type=checkbox]:checked");
    const active = document.activeElement;
    const writes = active && active.matches("textarea, input:not([type=checkbox]), select") && part && part.contains(active);
    if (chosen || writes || (part && typed(part))) {
      event.preventDefault();
      document.getElementById("said").textContent = "Something has changed since; read the page again when you are done.";
      broken.hidden = false;
    }
  });

  // -- keys

  const box = document.getElementById("shortcuts");
  box.checked = localStorage.getItem(KEY) !== "off";
  box.addEventListener("change", () => localStorage.setItem(KEY, box.checked ? "on" : "off"));

  const step = (by) => {
    const rows = [...document.querySelectorAll("[data-row] [data-open]")];
    if (!rows.length) return;
    const at = rows.indexOf(document.activeElement);
    rows[Math.min(rows.length - 1, Math.max(0, at + by))].focus();
  };
  const focus = (found) => found && found.focus();
  const go = (found) => found && found.click();
  const DO = {
    j: () => step(1),
    k: () => step(-1),
    w: () => focus(document.getElementById("value")),
    u: () => focus(document.querySelector("[data-undo]")),
    n: () => go(document.querySelector("[data-next]")),
    i: () => go(document.querySelector(".brand")),
  };

  document.addEventListener("keydown", (event) => {
    if (!box.checked || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input:not([type=checkbox]), textarea, select")) return;
    const version = /^[1-9]$/.test(event.key) && document.querySelector(`[data-version="${event.key}"]`);
    if (version) focus(version);
    else if (DO[event.key]) DO[event.key]();
    else return;
    event.preventDefault();
  });
})();
