/**
 * A client of one edge agent.
 *
 * Every write has an id, made here if the caller gives none. So it can be given again until it is answered, and has one effect: an agent that restarts
 * is waited for. What the agent answers with a problem is thrown by its kind (`errors`).
 */
import { randomUUID } from "node:crypto";

import createClient, { type Client } from "openapi-fetch";

import { type EdgeError, problem } from "./errors.js";
import type { components, paths } from "./generated/agent.js";
import { patiently } from "./patience.js";
import { type Change, changes, type DocumentId, type WatchOptions } from "./watch.js";

export type Answer<Result = unknown> = Omit<components["schemas"]["AnswerOut"], "result"> & { readonly result: Result };
export type Reading<Value = Record<string, unknown>> = Omit<components["schemas"]["ReadingOut"], "value"> & { readonly value: Value };
export type Conflict = components["schemas"]["ConflictOut"];
/** One op on a field, for a write without a declared command. */
export type FieldChange = components["schemas"]["ChangeIn"];
export type Consistency = "eventual" | "causal" | "strong";

type Path<Name extends string> = `/v1/commands/${Name}`;

/** The app's commands that a generated description has: each with its arguments. */
export type Commands<Paths> = {
  [P in keyof Paths as P extends Path<infer Name> ? (Name extends `{${string}}` ? never : Name) : never]: Paths[P] extends {
    post: { requestBody?: { content: { "application/json": infer Arguments } } };
  }
    ? Arguments
    : never;
};

/** Without a description of the app every command may be asked for, with any arguments. */
type Known<Paths> = keyof Commands<Paths> extends never ? Record<string, Readonly<Record<string, unknown>>> : Commands<Paths>;
export type CommandName<Paths> = keyof Known<Paths> & string;
export type Arguments<Paths, Name extends CommandName<Paths>> = Known<Paths>[Name];

export interface EdgeOptions {
  /** http://HOST:PORT of the agent. */
  readonly url?: string;
  /** What stands in the file `token` of the agent's data folder; read anew for each request where it is a function. */
  readonly token?: string | (() => string | Promise<string>);
  /** Instead of the platform's. */
  readonly fetch?: typeof fetch;
}

export interface Options {
  /** How long the caller waits, also for an agent that is away. */
  readonly seconds?: number;
  readonly signal?: AbortSignal;
}

export interface WriteOptions extends Options {
  /** Names the intent; made if left out. The same again has no second effect. */
  readonly commandId?: string;
  /** How far it is to have come. */
  readonly wait?: "disk" | "shipped" | "merged";
  readonly durability?: "disk" | "os";
  /** Of an earlier answer: what that has seen this one sees. */
  readonly session?: string;
  /** On whose behalf. */
  readonly actor?: string;
}

export interface ReadOptions extends Options {
  readonly consistency?: Consistency;
  readonly session?: string;
  /** Refuse what is older. */
  readonly maxAgeSeconds?: number;
}

export interface Call<Paths, Name extends CommandName<Paths> = CommandName<Paths>> {
  readonly name: Name;
  readonly arguments: Arguments<Paths, Name>;
  readonly commandId?: string;
  readonly actor?: string;
}

const SECONDS = 5;
const PAGE = 100;

export class Edge<Paths extends object = paths> {
  readonly url: string;
  /** Every other call, typed by the description. It neither retries nor throws problems. */
  readonly api: Client<paths, "application/json">;
  readonly #fetch: typeof fetch;
  readonly #token: () => Promise<string>;

  constructor(options: EdgeOptions = {}) {
    const { token = "", fetch: fetching = fetch } = options;
    this.url = (options.url ?? "http://127.0.0.1:7420").replace(/\/+$/, "");
    this.#fetch = fetching;
    this.#token = async () => (typeof token === "function" ? await token() : token).trim();
    this.api = createClient<paths, "application/json">({ baseUrl: this.url, fetch: fetching });
    this.api.use({
      onRequest: async ({ request }) => {
        for (const [name, value] of Object.entries(await this.#access())) request.headers.set(name, value);
        return request;
      },
    });
  }

  // -- writes

  /** Run a declared command. */
  async run<Name extends CommandName<Paths>, Result = unknown>(
    name: Name,
    args: Arguments<Paths, Name>,
    options: WriteOptions = {},
  ): Promise<Answer<Result>> {
    const write = written(options);
    const found = await this.#ask(options, write.id, (signal) =>
      this.api.POST("/v1/commands/{name}", {
        params: { path: { name }, query: write.query, header: write.header },
        body: args as Record<string, unknown>,
        signal,
      }),
    );
    return found as Answer<Result>;
  }

  /** Run declared commands one after another, each with its own answer or problem, in their order. What is refused changes nothing for the others. */
  async runMany(calls: readonly Call<Paths>[], options: Omit<WriteOptions, "commandId" | "actor"> = {}): Promise<(Answer | EdgeError)[]> {
    const { query } = written(options);
    const body = calls.map((call) => ({
      name: call.name,
      arguments: call.arguments as Record<string, unknown>,
      id: call.commandId ?? randomUUID(),
      actor: call.actor ?? "",
    }));
    const found = await this.#ask(options, undefined, (signal) => this.api.POST("/v1/commands", { params: { query }, body, signal }));
    return found.map((one) => (one.answer ? (one.answer as Answer) : problem(one.status, one.problem)));
  }

  /** Change one document without a declared command. */
  async write(document: DocumentId, fields: FieldChange[], options: WriteOptions = {}): Promise<Answer> {
    const write = written(options);
    const found = await this.#ask(options, write.id, (signal) =>
      this.api.POST("/v1/documents/{collection}/{scope}/{id}", {
        params: { path: { ...document }, query: write.query, header: write.header },
        body: fields,
        signal,
      }),
    );
    return found as Answer;
  }

  /** What became of a command. */
  async command(commandId: string, options: Options = {}): Promise<Answer> {
    const path = { command_id: commandId };
    const found = await this.#ask(options, undefined, (signal) =>
      this.api.GET("/v1/commands/{command_id}", { params: { path }, signal }),
    );
    return found as Answer;
  }

  // -- reads

  /** One document, and how fresh it is. */
  async read<Value = Record<string, unknown>>(
    collection: string,
    scope: string,
    id: string,
    options: ReadOptions = {},
  ): Promise<Reading<Value>> {
    const query = {
      consistency: options.consistency ?? "eventual",
      session: options.session ?? "",
      max_age: options.maxAgeSeconds === undefined ? "" : duration(options.maxAgeSeconds),
      timeout: duration(options.seconds ?? SECONDS),
    };
    const found = await this.#ask(options, undefined, (signal) =>
      this.api.GET("/v1/documents/{collection}/{scope}/{id}", { params: { path: { collection, scope, id }, query }, signal }),
    );
    return found as Reading<Value>;
  }

  /** All documents of one scope in id order, from after `after`, a page at a time. */
  async *documents<Value = Record<string, unknown>>(
    collection: string,
    scope: string,
    after = "",
    options: Options = {},
  ): AsyncGenerator<Reading<Value>, void, void> {
    for (let following: string | null = after; following !== null; ) {
      const query: { limit: number; after: string } = { limit: PAGE, after: following };
      const page: components["schemas"]["PageOut"] = await this.#ask(options, undefined, (signal) =>
        this.api.GET("/v1/documents/{collection}/{scope}", { params: { path: { collection, scope }, query }, signal }),
      );
      for (const reading of page.documents) yield reading as Reading<Value>;
      following = page.next;
    }
  }

  /**
   * Changed documents from now, or from after `lastEventId`, until the caller stops. When the connection breaks, or the agent restarts, it goes on
   * after the last event, so that nothing is missed; `resync` means: read everything again.
   */
  watch(options: WatchOptions = {}): AsyncGenerator<Change, void, void> {
    const open = async (headers: Record<string, string>, query: URLSearchParams, signal: AbortSignal): Promise<Response> =>
      await this.#fetch(`${this.url}/v1/watch?${query.toString()}`, { headers: { ...headers, ...(await this.#access()) }, signal });
    return changes(this.url, open, options);
  }

  // -- conflicts, and the agent itself

  /** The conflicts that are not resolved, or all that are known. */
  async *conflicts(everything = false, options: Options = {}): AsyncGenerator<Conflict, void, void> {
    for (let following: string | null = ""; following !== null; ) {
      const query: { after: string; all: boolean } = { after: following, all: everything };
      const page: components["schemas"]["ConflictsOut"] = await this.#ask(options, undefined, (signal) =>
        this.api.GET("/v1/conflicts", { params: { query }, signal }),
      );
      yield* page.conflicts;
      following = page.next;
    }
  }

  /** Decide a conflict: give the value of its field, or "accept" what stands. */
  async resolve(conflictId: string, decision: Readonly<Record<string, unknown>> | "accept", options: WriteOptions & { readonly reason?: string } = {}): Promise<Answer> {
    const write = written(options);
    const query = options.reason === undefined ? {} : { reason: options.reason };
    const body = decision === "accept" ? { accept: true } : { ...decision };
    const found = await this.#ask(options, write.id, (signal) =>
      this.api.POST("/v1/conflicts/{id}/resolve", { params: { path: { id: conflictId }, query, header: write.header }, body, signal }),
    );
    return found as Answer;
  }

  /** How the agent is. */
  async status(options: Options = {}): Promise<Readonly<Record<string, unknown>>> {
    return await this.#ask(options, undefined, (signal) => this.api.GET("/v1/status", { signal }));
  }

  async #access(): Promise<Record<string, string>> {
    const token = await this.#token();
    return token ? { Authorization: `Bearer ${token}` } : {};
  }

  async #ask<Data>(
    options: Options,
    commandId: string | undefined,
    ask: (signal: AbortSignal) => Promise<{ data?: Data; error?: unknown; response: Response }>,
  ): Promise<Data> {
    const patience = { url: this.url, seconds: options.seconds ?? SECONDS, commandId, signal: options.signal };
    const { data, error, response } = await patiently(patience, ask);
    if (!response.ok || data === undefined) throw problem(response.status, error);
    return data;
  }
}

function written(options: WriteOptions): {
  id: string;
  query: { wait: "disk" | "shipped" | "merged"; timeout: string; session?: string; durability?: "disk" | "os" };
  header: { "idempotency-key": string; "driftlog-actor"?: string };
} {
  const id = options.commandId ?? randomUUID();
  return {
    id,
    query: {
      wait: options.wait ?? "disk",
      timeout: duration(options.seconds ?? SECONDS),
      ...(options.session ? { session: options.session } : {}),
      ...(options.durability ? { durability: options.durability } : {}),
    },
    header: { "idempotency-key": id, ...(options.actor ? { "driftlog-actor": options.actor } : {}) },
  };
}

function duration(seconds: number): string {
  return `${seconds.toFixed(3)}s`;
}
