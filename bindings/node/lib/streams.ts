// Values that keep coming, as async iterators.

import { crossing, type Abortable } from './crossing.js';
import { isFailure } from './errors.js';
import type * as Native from './native.cjs';
import { keyEvent, type KeyEvent } from './types.js';

/** @internal */
export interface NativeFeed<Raw> {
  next(token: Native.CancelToken): Promise<Raw | null | undefined | Native.NativeError>;
  close(): void;
}

/**
 * Values that keep coming: iterate with `for await`, or take them with `next()`. Leaving the loop
 * closes it, and so does `await using`.
 */
export class Stream<Item> implements AsyncIterableIterator<Item>, AsyncDisposable {
  readonly #take: (signal: AbortSignal | undefined) => Promise<Item[] | null>;
  readonly #close: () => void;
  readonly #signal: AbortSignal | undefined;
  readonly #ready: Item[] = [];

  /** @internal */
  constructor(given: { take: NativeFeed<Item[]>; signal: AbortSignal | undefined }) {
    const { take, signal } = given;
    this.#signal = signal;
    this.#close = () => take.close();
    this.#take = async (aborted) => {
      // What arrives when the wait for it was given up is for the next one.
      const keep = (late: Item[] | null | undefined): void => void this.#ready.push(...(late ?? []));
      return (await crossing(aborted, (token) => take.next(token), keep)) ?? null;
    };
  }

  /**
   * The next one. What was not taken yet waits in the client, and no other stream waits for it. A
   * `signal` given here ends this wait only, and nothing is missed; that of the stream ends all.
   */
  async next({ signal }: Abortable = {}): Promise<IteratorResult<Item, undefined>> {
    const both = [this.#signal, signal].filter((one) => one !== undefined);
    const aborted = both.length > 1 ? AbortSignal.any(both) : both[0];
    for (;;) {
      if (this.#ready.length > 0) return { done: false, value: this.#ready.shift() as Item };
      let more: Item[] | null;
      try {
        more = await this.#take(aborted);
      } catch (error) {
        // A loop that ends with an error does not close what it iterates.
        if (this.#signal?.aborted) this.close();
        throw error;
      }
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

/** Makes items of what a feed gives. @internal */
export function expanded<Raw, Item>(native: NativeFeed<Raw>, expand: (raw: Raw) => Item[]): NativeFeed<Item[]> {
  return {
    async next(token) {
      const raw = await native.next(token);
      if (raw == null) return null;
      return isFailure(raw) ? raw : expand(raw as Raw);
    },
    close: () => native.close(),
  };
}

/** @internal */
export function stream<Raw, Item>(
  native: NativeFeed<Raw>,
  signal: AbortSignal | undefined,
  expand: (raw: Raw) => Item[],
): Stream<Item> {
  return new Stream({ take: expanded(native, expand), signal });
}

/** The streams of something that ends them when it is closed; it keeps none of them alive. @internal */
export class Streams {
  readonly #open = new Set<WeakRef<Stream<unknown>>>();

  add<Item>(stream: Stream<Item>): Stream<Item> {
    for (const reference of this.#open) {
      if (reference.deref() === undefined) this.#open.delete(reference);
    }
    this.#open.add(new WeakRef(stream));
    return stream;
  }

  close(): void {
    for (const reference of this.#open) reference.deref()?.close();
    this.#open.clear();
  }
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
    super({ take: expanded(native, expand), signal });
  }

  /** Everything up to this revision was taken from the server, if perhaps not by the program. */
  get revision(): number {
    return this.#revision;
  }
}
