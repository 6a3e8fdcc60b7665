// Values that keep coming, as async iterators.

import { crossing } from './crossing.js';
import type * as Native from './native.cjs';
import { Leader, keyEvent, type KeyEvent } from './types.js';

interface NativeFeed<Raw> {
  next(token: Native.CancelToken): Promise<Raw | null | undefined | Native.NativeError>;
  close(): void;
}

/**
 * Values that keep coming: iterate with `for await`, or take them with `next()`. Leaving the loop
 * closes it, and so does `await using`.
 */
export abstract class Stream<Raw, Item> implements AsyncIterableIterator<Item>, AsyncDisposable {
  readonly #native: NativeFeed<Raw>;
  readonly #signal: AbortSignal | undefined;
  readonly #ready: Item[] = [];

  /** @internal */
  constructor(native: NativeFeed<Raw>, signal: AbortSignal | undefined) {
    this.#native = native;
    this.#signal = signal;
  }

  /** @internal */
  protected abstract expand(raw: Raw): Item[];

  /** The next one. What was not taken yet waits in the client, and no other stream waits for it. */
  async next(): Promise<IteratorResult<Item, undefined>> {
    for (;;) {
      if (this.#ready.length > 0) return { done: false, value: this.#ready.shift() as Item };
      const raw = await crossing(this.#signal, (token) => this.#native.next(token));
      if (raw == null) return { done: true, value: undefined };
      this.#ready.push(...this.expand(raw));
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
    this.#native.close();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}

/** Changes of keys, in order; whole revisions, but given one by one. */
export class Watch extends Stream<Native.NativeChanges, KeyEvent> {
  #revision = 0;

  /** Everything up to this revision was taken from the server, if perhaps not by the program. */
  get revision(): number {
    return this.#revision;
  }

  /** @internal */
  protected override expand(raw: Native.NativeChanges): KeyEvent[] {
    this.#revision = raw.revision;
    return raw.events.map(keyEvent);
  }
}

/** The leaders of an election: who leads, and each change; `null` while nobody does. */
export class Observation extends Stream<Native.NativeReign, Leader | null> {
  /** @internal */
  protected override expand(raw: Native.NativeReign): (Leader | null)[] {
    return [raw.leader == null ? null : new Leader(raw.leader)];
  }
}
