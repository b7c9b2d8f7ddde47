/** Server-sent events (WHATWG HTML, 9.2), as far as an agent sends them. */

export interface ServerEvent {
  readonly id?: string;
  readonly event?: string;
  /** Missing in an event that only tells how far the stream has come. */
  readonly data?: string;
}

/** Makes events of the text of a stream, however it is cut. */
export class EventParser {
  #rest = "";
  #fields: { id?: string; event?: string; data?: string } = {};

  /** The events that end within this text. */
  take(text: string): ServerEvent[] {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?=[^])/);
    this.#rest = lines.pop() ?? "";
    return lines.map((line) => this.#line(line)).filter((event) => event !== undefined);
  }

  #line(line: string): ServerEvent | undefined {
    if (line === "") {
      const event = this.#fields;
      this.#fields = {};
      return Object.keys(event).length > 0 ? event : undefined;
    }
    const [, name, value = ""] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
    if (name === "id" || name === "event") this.#fields[name] = value;
    if (name === "data") this.#fields.data = this.#fields.data === undefined ? value : `${this.#fields.data}\n${value}`;
    return undefined;
  }
}

/** The events of a body, until it ends. Throws what reading it throws, also when nothing comes for so long. */
export async function* eventsOf(body: ReadableStream<Uint8Array>, silenceSeconds: number): AsyncGenerator<ServerEvent> {
  const parser = new EventParser();
  const reader = body.getReader();
  const decoder = new TextDecoder();
  try {
    for (;;) {
      const { done, value } = await within(reader.read(), silenceSeconds);
      if (done) return;
      yield* parser.take(decoder.decode(value, { stream: true }));
    }
  } finally {
    await reader.cancel().catch(() => undefined); // it may be broken, which is why it is left
  }
}

/** Throws a `TimeoutError` when it takes longer. What was begun goes on. */
export async function within<T>(promise: Promise<T>, seconds: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new DOMException(`nothing came for ${seconds} s`, "TimeoutError"));
    }, seconds * 1000);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
