/**
 * How long and how often a client asks.
 *
 * An agent that restarts is away for seconds; that is no error as long as the caller waits. Only what got no answer is asked again, so it is
 * for what is answered the second time as the first.
 */
import { Unreachable } from "./errors.js";

/** An agent ends each request in the time that it was given; its word may take so much longer to come. */
const GRACE_SECONDS = 5;
const FIRST_PAUSE_SECONDS = 0.05;
const LONGEST_PAUSE_SECONDS = 1;

export interface Patience {
  readonly url: string;
  readonly seconds: number;
  readonly commandId?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Ask until there is an answer. Throws `Unreachable` after so many seconds without one, and the signal's reason when the caller gives up. */
export async function patiently<T>(patience: Patience, ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const end = performance.now() + patience.seconds * 1000;
  for (let attempt = 0; ; attempt += 1) {
    const late = AbortSignal.timeout((patience.seconds + GRACE_SECONDS) * 1000);
    try {
      return await ask(patience.signal ? AbortSignal.any([patience.signal, late]) : late);
    } catch (error) {
      patience.signal?.throwIfAborted();
      const pause = pauseOf(attempt);
      if (!isOfTheWay(error)) throw error;
      if (performance.now() + pause >= end) throw new Unreachable(patience.url, patience.commandId, error);
      await sleep(pause, patience.signal);
    }
  }
}

/** Is it the way to the agent that failed, and not what was asked? */
export function isOfTheWay(error: unknown): boolean {
  return error instanceof TypeError || (error instanceof DOMException && ["AbortError", "TimeoutError"].includes(error.name));
}

/** Milliseconds before the next attempt, random, so that many clients do not come back at once. */
export function pauseOf(attempt: number): number {
  const longest = Math.min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** attempt);
  return Math.random() * longest * 1000;
}

/** Throws the signal's reason when the caller gives up. */
export async function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const given = (): void => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", given);
      resolve();
    }, milliseconds);
    if (signal?.aborted) given();
    else signal?.addEventListener("abort", given, { once: true });
  });
}
