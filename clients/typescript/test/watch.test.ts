/** A stream that does not begin is asked for again, as one that breaks is. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { Unreachable } from "../src/index.js";
import { changes } from "../src/watch.js";

const CHANGE = 'id: a-1\nevent: change\ndata: {"collection":"Stock","scope":"s1","id":"tea"}\n\n';

test("an agent that takes the connection and says nothing is asked again", { timeout: 60_000 }, async () => {
  const asked: AbortSignal[] = [];
  const open = async (_: Record<string, string>, __: URLSearchParams, signal: AbortSignal): Promise<Response> => {
    asked.push(signal);
    return asked.length < 3 ? await new Promise(() => undefined) : new Response(CHANGE, { headers: { "content-type": "text/event-stream; charset=utf-8" } });
  };
  const watch = changes("http://agent", open, {}, 0.02);
  const { value } = await watch.next();
  assert.equal(value?.kind === "change" && value.document.id, "tea");
  assert.deepEqual(
    asked.map((signal) => signal.aborted),
    [true, true, false],
    "what was given up is closed",
  );
  await watch.return();
  assert(asked[2]?.aborted);
});

test("its silence ends with the patience", { timeout: 60_000 }, async () => {
  const silent = async (): Promise<Response> => await new Promise(() => undefined);
  await assert.rejects(changes("http://agent", silent, { patienceSeconds: 0.1 }, 0.02).next(), Unreachable);
});

test("what answers with a page is no agent, and is asked once", { timeout: 60_000 }, async () => {
  let asked = 0;
  const page = async (): Promise<Response> => {
    asked += 1;
    return new Response("<html>", { headers: { "content-type": "text/html" } });
  };
  await assert.rejects(changes("http://agent", page, { patienceSeconds: 0.1 }).next(), /no edge agent/);
  assert.equal(asked, 1);
});
