// Values that keep coming, as async iterators.

import { crossing } from './crossing.js';
import type * as Native from './native.cjs';
import { keyEvent, type KeyEvent } from './types.js';

interface NativeFeed<Raw> {
  next(token: Native.CancelToken): Promise<Raw | null | undefined | Native.NativeError>;
  close(): void;
}

/** Takes what comes next from `native`; `null` after the last. */
type Take<Item> = () => Promise<Item[] | null>;

function taking<Raw, Item>(
  native: NativeFeed<Raw>,
  signal: AbortSignal | undefined,
  expand: (raw: Raw) => Item[],
): Take<Item> {
  return async () => {
    const raw = await crossing(signal, (token) => native.next(token));
    return raw == null ? null : expand(raw);
  };
}

/**
 * Values that keep coming: iterate with `for await`, or take them with `next()`. Leaving the loop
 * closes it, and so does `await using`.
 */
export class Stream<Item> implements AsyncIterableIterator<Item>, AsyncDisposable {
  readonly #take: Take<Item>;
  readonly #close: () => void;
  readonly #ready: Item[] = [];

  /** @internal */
  constructor(take: Take<Item>, close: () => void) {
    this.#take = take;
    this.#close = close;
  }

  /** The next one. What was not taken yet waits in the client, and no other stream waits for it. */
  async next(): Promise<IteratorResult<Item, undefined>> {
    for (;;) {
      if (this.#ready.length > 0) return { done: false, value: this.#ready.shift() as Item };
      const more = await this.#take();
      if (more === null) return { done: true, value: undefined };
      this.#ready.push(...more);
    }
  }

  /** Ends it, as leaving a loop does; whoever waits gets the end. */
  async return(): Promise<IteratorResult<Item, undefined>> {
    this.close();
    return { done: true, value: undefined };
  }

  /** Ends it: whoever waits gets the end. */
  close(): void {
    this.#ready.length = 0;
    this.#close();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}

/** @internal */
export function stream<Raw, Item>(
  native: NativeFeed<Raw>,
  signal: AbortSignal | undefined,
  expand: (raw: Raw) => Item[],
): Stream<Item> {
  return new Stream(taking(native, signal, expand), () => native.close());
}

/** Changes of keys, in order; whole revisions, but given one by one. */
export class Watch extends Stream<KeyEvent> {
  #revision = 0;

  /** @internal */
  constructor(native: Native.NativeWatch, signal: AbortSignal | undefined) {
    const expand = (raw: Native.NativeChanges): KeyEvent[] => {
      this.#revision = raw.revision;
      return raw.events.map(keyEvent);
    };
    super(taking(native, signal, expand), () => native.close());
  }

  /** Everything up to this revision was taken from the server, if perhaps not by the program. */
  get revision(): number {
    return this.#revision;
  }
}
