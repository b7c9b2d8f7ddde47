/** Changed documents, one after another, over broken connections and restarts of the agent. */
import { problem } from "./errors.js";
import { eventsOf, within } from "./events.js";
import { isOfTheWay, patiently, pauseOf, sleep } from "./patience.js";

export interface DocumentId {
  readonly collection: string;
  readonly scope: string;
  readonly id: string;
}

/** `resync` means: nobody can tell what has changed, so read everything again. */
export type Change =
  | { readonly kind: "change"; readonly id: string; readonly document: DocumentId }
  | { readonly kind: "resync"; readonly id: string };

export interface WatchOptions {
  /** Of one collection; of all if left out. */
  readonly collection?: string;
  /** Of one scope, which must be held; of all if left out. */
  readonly scope?: string;
  /** The id of the last change that was seen, of this process or one before: what was missed since comes first. */
  readonly lastEventId?: string;
  /** How long an agent may be away until `Unreachable` is thrown. */
  readonly patienceSeconds?: number;
  readonly signal?: AbortSignal;
}

/** An agent says something on an idle stream four times as often; one that is silent for so long is broken. */
const SILENCE_SECONDS = 60;
const PATIENCE_SECONDS = 60;

export type Open = (headers: Record<string, string>, query: URLSearchParams, signal: AbortSignal) => Promise<Response>;

/** Opens the stream with `open`, again and again, each time after the last event, and when nothing was heard for `silenceSeconds`. */
export async function* changes(
  url: string,
  open: Open,
  options: WatchOptions,
  silenceSeconds = SILENCE_SECONDS,
): AsyncGenerator<Change, void, void> {
  const { signal, patienceSeconds: seconds = PATIENCE_SECONDS } = options;
  const query = new URLSearchParams();
  if (options.collection) query.set("collection", options.collection);
  if (options.scope) query.set("scope", options.scope);
  let last = options.lastEventId ?? "";
  for (let inVain = 0; ; inVain += 1) {
    let closing = new AbortController();
    const headers = last ? { "Last-Event-ID": last } : {};
    const opened = async (): Promise<Response> => {
      closing.abort(); // the attempt before this one
      closing = new AbortController();
      const closed = signal ? AbortSignal.any([signal, closing.signal]) : closing.signal;
      return await within(open(headers, query, closed), silenceSeconds);
    };
    try {
      const response = await patiently({ url, seconds, signal }, opened);
      // What is no agent may answer anything with a page, again and again.
      const streams = response.ok && (response.headers.get("content-type") ?? "").startsWith("text/event-stream");
      if (!streams || response.body === null) throw problem(response.status, await response.json().catch(() => undefined));
      for await (const event of eventsOf(response.body, silenceSeconds)) {
        inVain = 0;
        last = event.id ?? last;
        if (event.data === undefined) continue;
        if (event.event === "resync") yield { kind: "resync", id: last };
        else yield { kind: "change", id: last, document: JSON.parse(event.data) as DocumentId };
      }
    } catch (error) {
      signal?.throwIfAborted();
      if (!isOfTheWay(error)) throw error;
    } finally {
      closing.abort(); // also when the caller has stopped looking
    }
    await sleep(pauseOf(inVain), signal);
  }
}
