/**
 * The client against an agent that runs the retail example, which somebody starts again whenever it dies.
 *
 * EDGE_URL, EDGE_TOKEN_FILE: where it is; EDGE_PID_FILE: the file with the id of its process.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { test } from "node:test";

import { type Change, Edge, Invalid, NotFound, Offline, Problem, Refused, TimedOut, Unreachable } from "../src/index.js";
import type { paths } from "./generated/shop.js";

const url = variable("EDGE_URL");
const token = (): string => readFileSync(variable("EDGE_TOKEN_FILE"), "utf8");
const edge = new Edge<paths>({ url, token });
const PATIENT = { seconds: 120 };

function variable(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

/** As a power cut ends it: no warning, nothing put away. */
function kill(): void {
  process.kill(Number(readFileSync(variable("EDGE_PID_FILE"), "utf8")), "SIGKILL");
}

async function following(watch: AsyncGenerator<Change>, until: string): Promise<Change[]> {
  const found: Change[] = [];
  for (;;) {
    const { value, done } = await watch.next();
    if (done) throw new Error("a watch does not end by itself");
    found.push(value);
    if (value.kind === "change" && value.document.id === until) return found;
  }
}

const documents = (found: Change[]): string[] => found.map((change) => (change.kind === "change" ? change.document.id : change.kind));

test("a command has one effect however often it is given", async () => {
  const first = await edge.run("receive", { store: "s1", sku: "once", qty: 5, name: "Once" }, { ...PATIENT, commandId: "ts-once" });
  const again = await edge.run("receive", { store: "s1", sku: "once", qty: 5, name: "Once" }, { commandId: "ts-once" });
  assert.equal(first.result, 5);
  assert.deepEqual([again.result, again.command_id, again.dots], [5, "ts-once", first.dots]);
  assert.equal((await edge.command("ts-once")).status, "pending");

  const reading = await edge.read<{ on_hand: number }>("Stock", "s1", "once", { session: first.session, consistency: "causal" });
  assert.deepEqual([reading.value.on_hand, reading.pending], [5, 1]);
});

test("names and arguments of commands are those of the app", async () => {
  // @ts-expect-error there is no such command
  await assert.rejects(edge.run("recieve", { store: "s1", sku: "tea", qty: 1 }), NotFound);
  // @ts-expect-error an argument is missing
  await assert.rejects(edge.run("receive", { store: "s1", sku: "tea" }), Invalid);
  // @ts-expect-error an argument is of another type
  await assert.rejects(edge.run("receive", { store: "s1", sku: "tea", qty: "many" }), Invalid);
  const untyped = new Edge({ url, token });
  assert.equal((await untyped.run("receive", { store: "s1", sku: "untyped", qty: 1 })).result, 1);
});

test("problems are errors by their code", async () => {
  await assert.rejects(edge.run("sell", { store: "s1", sku: "none", qty: 1 }), (error) => {
    assert(error instanceof Refused && error instanceof Problem);
    assert.deepEqual([error.name, error.appCode, error.status, error.code], ["Refused", "out_of_stock", 409, "refused"]);
    return true;
  });
  await assert.rejects(edge.run("receive", { store: "s1", sku: "tea", qty: -1 }), (error) => error instanceof Invalid && error.field === "qty");
  await assert.rejects(edge.read("Stock", "s1", "nothing here"), { name: "NotFound", code: "not_found" });
  await assert.rejects(edge.read("Stock", "elsewhere", "tea"), { name: "NotFound", code: "not_held" });
  await assert.rejects(edge.read("Stock", "s1", "once", { consistency: "strong" }), Offline);
  await assert.rejects(edge.read("Stock", "s1", "once", { maxAgeSeconds: 1 }), Offline);
  await assert.rejects(
    edge.run("receive", { store: "s1", sku: "late", qty: 1 }, { wait: "merged", seconds: 0.2, commandId: "ts-late" }),
    (error) => error instanceof TimedOut && error.commandId === "ts-late",
  );
  await assert.rejects(new Edge({ url, token: "not the one" }).status(), { name: "Problem", code: "unauthorized", status: 401 });
});

test("a list of commands has an answer or an error for each, and names survive the way", async () => {
  const sku = "a/b ?%#ü";
  const given = await edge.runMany([
    { name: "receive", arguments: { store: "s1", sku, qty: 3, name: "" }, commandId: "ts-many" },
    { name: "sell", arguments: { store: "s1", sku, qty: 9 } },
  ]);
  assert.equal((given[0] as { result: unknown }).result, 3);
  assert(given[1] instanceof Refused);
  assert.equal((await edge.read("Stock", "s1", sku)).value["on_hand"], 3);
});

test("a document is written without a command, and all of a scope are read in pages", async () => {
  const document = { collection: "Stock", scope: "s1", id: "written" };
  await edge.write(document, [{ field: "on_hand", op: "increment", args: [7] }]);
  assert.equal((await edge.read("Stock", "s1", "written")).value["on_hand"], 7);

  const calls = Array.from({ length: 150 }, (_, n) => ({ name: "receive" as const, arguments: { store: "s1", sku: `page ${n}`, qty: 1, name: "" } }));
  await edge.runMany(calls, { durability: "os", seconds: 60 });
  const ids: string[] = [];
  for await (const reading of edge.documents("Stock", "s1", "page ")) ids.push(reading.id);
  assert.equal(ids.filter((id) => id.startsWith("page ")).length, 150);
  assert.deepEqual(ids, [...ids].sort());

  const conflicts = [];
  for await (const conflict of edge.conflicts(true)) conflicts.push(conflict);
  assert.deepEqual(conflicts, []);
  const { data } = await edge.api.GET("/v1/scopes");
  assert.deepEqual(data?.scopes, ["s1"]);
});

test("a watch goes on over kills of the agent and misses nothing, and commands count once", { timeout: 240_000 }, async (t) => {
  const receive = async (sku: string): Promise<unknown> =>
    (await edge.run("receive", { store: "s1", sku, qty: 1, name: "" }, PATIENT)).result;
  const over = new AbortController(); // also when something fails: a stream that is left open keeps the process
  t.after(() => {
    over.abort();
  });
  const patient = { signal: over.signal, patienceSeconds: 120 };
  const watch = edge.watch({ collection: "Stock", scope: "s1", ...patient });
  let heard = following(watch, "kill 0");
  let listens = false;
  const first = heard.then(() => (listens = true));
  do await receive("kill 0"); // answered each time: one that is left under way would come after what follows
  while (!listens);
  await first;
  for (let round = 1; round <= 2; round += 1) {
    heard = following(watch, `kill ${round}`);
    kill();
    assert.equal(await receive(`kill ${round}`), 1, "given until it was answered, and counted once");
    const found = documents(await heard);
    assert(!found.includes("resync"), "the agent knows where it was");
  }
  await watch.return();

  const since = (await heard).at(-1)?.id ?? "";
  await receive("missed");
  kill();
  const later = edge.watch({ lastEventId: since, ...patient });
  assert.deepEqual(documents(await following(later, "missed")), ["missed"], "also another process goes on with the id");
  const stranger = edge.watch({ lastEventId: "another-folder-7", ...patient });
  assert.equal((await stranger.next()).value?.kind, "resync");
});

test("a watch of what is not held is refused, and one is stopped by its signal", async () => {
  await assert.rejects(edge.watch({ scope: "elsewhere" }).next(), { code: "not_held" });
  const stop = new AbortController();
  const waiting = edge.watch({ signal: stop.signal }).next();
  stop.abort(new Error("enough"));
  await assert.rejects(waiting, /enough/);
});

test("without an agent there is an end, and the command may be given again", async () => {
  const port = await new Promise<number>((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => {
        resolve(typeof address === "object" && address ? address.port : 0);
      });
    });
  });
  const nobody = new Edge<paths>({ url: `http://127.0.0.1:${port}` });
  await assert.rejects(
    nobody.run("sell", { store: "s1", sku: "tea", qty: 1 }, { seconds: 0.2, commandId: "ts-nobody" }),
    (error) => error instanceof Unreachable && error.commandId === "ts-nobody",
  );
  await assert.rejects(nobody.watch({ patienceSeconds: 0.2 }).next(), Unreachable);
});
