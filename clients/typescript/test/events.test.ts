/** A stream of events is read the same however it is cut. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { EventParser, eventsOf } from "../src/events.js";

const STREAM = "id: a-1\r\n\r\n: ping\r\n\r\nid: a-2\r\nevent: change\r\ndata: {}\r\n\r\nid: a-3\ndata: x: y\ndata:z\n\nid: a-4\rdata\r\r";
const EVENTS = [{ id: "a-1" }, { id: "a-2", event: "change", data: "{}" }, { id: "a-3", data: "x: y\nz" }];

test("events come whole, with what they have", () => {
  for (let size = 1; size <= STREAM.length; size += 1) {
    const parser = new EventParser();
    const found = [];
    for (let at = 0; at < STREAM.length; at += size) found.push(...parser.take(STREAM.slice(at, at + size)));
    assert.deepEqual(found.slice(0, 3), EVENTS, `in pieces of ${size}`);
  }
});

test("a stream that is silent for too long is broken, and one that ends is over", async () => {
  const silent = new ReadableStream<Uint8Array>({});
  await assert.rejects(eventsOf(silent, 0.01).next(), { name: "TimeoutError" });
  const over = new ReadableStream<Uint8Array>({
    start(controller): void {
      controller.enqueue(new TextEncoder().encode(STREAM));
      controller.close();
    },
  });
  const found = [];
  for await (const event of eventsOf(over, 60)) found.push(event);
  assert.deepEqual(found.slice(0, 3), EVENTS);
});
