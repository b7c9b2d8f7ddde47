/**
 * What can go wrong, as errors.
 *
 *     EdgeError
 *     ├── Problem          the agent's answer (RFC 9457), by its stable `code`
 *     │   ├── Refused      the app's rules refuse it: `appCode`
 *     │   ├── Invalid      the input cannot be used: `field`
 *     │   ├── NotFound     also of a scope that is not held, and of what is not declared
 *     │   ├── Deleted
 *     │   ├── Stale        fresher data was asked for than there is: `ageSeconds`
 *     │   ├── Offline      the answer needs the cloud
 *     │   ├── TimedOut     the write stands, or may: `commandId`
 *     │   └── Full         of the outbox or the disk; nothing has changed
 *     └── Unreachable      no agent has answered in the time given
 */
import type { components } from "./generated/agent.js";

export type ProblemBody = components["schemas"]["Problem"] & { readonly age_seconds?: number | null };

export class EdgeError extends Error {
  override get name(): string {
    return this.constructor.name;
  }
}

/** The agent's answer to what it cannot do. After it the earlier state stands whole. */
export class Problem extends EdgeError {
  readonly status: number;
  /** Stable; what a program looks at. */
  readonly code: string;
  /** What it is about. */
  readonly field: string | undefined;
  /** The next step. */
  readonly remedy: string | undefined;

  constructor(readonly body: ProblemBody) {
    super(`${body.code}: ${body.detail}`);
    this.status = body.status;
    this.code = body.code;
    this.field = body.field;
    this.remedy = body.remedy;
  }
}

/** The app's own rules refuse the command. */
export class Refused extends Problem {
  get appCode(): string {
    return this.body.app_code ?? "";
  }
}

export class Invalid extends Problem {}
export class NotFound extends Problem {}
export class Deleted extends Problem {}

export class Stale extends Problem {
  /** Undefined where nobody knows the age. */
  get ageSeconds(): number | undefined {
    return this.body.age_seconds ?? undefined;
  }
}

export class Offline extends Problem {}

/** Not in the time given. With a `commandId` the command stands, or is just being written: ask for its status, or give it again under that id. */
export class TimedOut extends Problem {
  get commandId(): string | undefined {
    return this.body.command_id || undefined;
  }
}

export class Full extends Problem {}

/** No agent has answered in the time given. With a `commandId` the write may stand or not: give it again under that id. */
export class Unreachable extends EdgeError {
  constructor(
    url: string,
    readonly commandId: string | undefined,
    cause: unknown,
  ) {
    super(`no agent answers at ${url}`, { cause });
  }
}

const KINDS: Readonly<Record<string, typeof Problem>> = {
  refused: Refused,
  invalid: Invalid,
  not_found: NotFound,
  not_held: NotFound,
  undeclared: NotFound,
  deleted: Deleted,
  stale: Stale,
  offline: Offline,
  timeout: TimedOut,
  outbox_full: Full,
  disk_full: Full,
};

/** The error of an answer with this status and body. */
export function problem(status: number, body: unknown): Problem {
  if (!isProblem(body)) {
    const detail = `what answers is no edge agent (${status})`;
    return new Problem({ type: "about:blank", title: "No agent", status, code: "no_agent", detail, remedy: "check the URL" });
  }
  return new (KINDS[body.code] ?? Problem)(body);
}

function isProblem(body: unknown): body is ProblemBody {
  return typeof body === "object" && body !== null && "code" in body && "detail" in body;
}
