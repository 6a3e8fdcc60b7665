// What is held: a lock, or a leadership.

import { inspect } from 'node:util';

import { toBuffer, type Bytes } from './bytes.js';
import { crossing, type Abortable } from './crossing.js';
import { toError, unwrap } from './errors.js';
import type * as Native from './native.cjs';
import { op, toRequest, type Transaction } from './txn.js';
import { TxnResult } from './types.js';

/** What locks and leaderships have in common. */
export abstract class Held implements AsyncDisposable {
  /** @internal */
  protected readonly native: Native.NativeHolding;
  /**
   * The fencing token: grows with every grant of the name. Whatever is changed outside the store
   * should refuse a token smaller than one it has seen.
   */
  readonly token: number;
  #signal: AbortSignal | undefined;

  /** @internal */
  constructor(native: Native.NativeHolding) {
    this.native = native;
    // All else is asked for when it is wanted: each question has its price.
    this.token = native.token;
  }

  /** The lease of the session it is held on. */
  get lease(): string {
    return this.native.lease;
  }

  /**
   * Whether the holder before ended without giving it back, so that what it worked on may be half
   * done.
   */
  get previousDied(): boolean {
    return this.native.previousDied;
  }

  /**
   * Aborts when it is lost, with the error as its reason: pass it on to what must not go on then.
   * It does not abort when it is released.
   */
  get signal(): AbortSignal {
    // Most are released without a look at it, and listening has its price.
    if (this.#signal === undefined) {
      // Not `this`, so that what is forgotten can be collected, and is given back then.
      const lost = new AbortController();
      this.native.onLost((failure) => lost.abort(toError(failure)));
      this.#signal = lost.signal;
    }
    return this.#signal;
  }

  /** The name of what is held, as text; of several locks, all of them. */
  get name(): string {
    return this.native.name.toString();
  }

  /** The key that stands for it in the store. */
  get key(): string {
    return this.native.key.toString();
  }

  /**
   * Throws if it is not held at this instant, by the clock: right even when the event loop was
   * blocked for long, and `signal` had no chance yet.
   */
  check(): void {
    const failure = this.native.check();
    if (failure != null) throw toError(failure);
  }

  /** Whether it is held at this instant, by the clock. */
  get held(): boolean {
    return this.native.check() == null;
  }

  /** Reports that the work goes on, for a `beatMs` limit. Throws when it is lost, or too late. */
  beat(): void {
    const failure = this.native.beat();
    if (failure != null) throw toError(failure);
  }

  /** Milliseconds it is held for certain if nothing more is heard; 0 when it is lost. */
  get remainingMs(): number {
    return this.native.remainingMs;
  }

  /** A transaction that the store refuses, with a {@link LockLostError}, once this is lost. */
  async txn(transaction: Transaction, { signal }: Abortable = {}): Promise<TxnResult> {
    const request = toRequest(transaction);
    return new TxnResult(await crossing(signal, (token) => this.native.txn(token, request)));
  }

  /** As {@link txn}: writes one key; the revision. */
  async put(key: Bytes, value: Bytes, options: Abortable = {}): Promise<number> {
    return (await this.txn({ then: [op.put(key, value)] }, options)).revision;
  }

  /** As {@link txn}: deletes one key; the revision. */
  async delete(key: Bytes, options: Abortable = {}): Promise<number> {
    return (await this.txn({ then: [op.delete(key)] }, options)).revision;
  }

  /** @internal */
  [inspect.custom](): string {
    return `<${this.constructor.name} ${this.name} token=${this.token} remaining=${Math.round(this.remainingMs)} ms>`;
  }

  /** @internal */
  enter(): void {
    this.native.enter();
  }

  /** @internal */
  protected async giveBack(): Promise<void> {
    unwrap(await this.native.release());
  }

  /** Gives it back at the end of `await using`. Throws when it was lost, so that it is noticed. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.giveBack();
  }
}

/**
 * Runs `work` while `held` is held, and gives it back when `work` has ended, not earlier.
 *
 * @internal
 */
export async function during<H extends Held, T>(held: H, work: (held: H) => T | PromiseLike<T>): Promise<T> {
  held.enter();
  let result: T;
  try {
    result = await work(held);
  } catch (error) {
    // What the work says goes first.
    await held[Symbol.asyncDispose]().catch(() => undefined);
    throw error;
  }
  await held[Symbol.asyncDispose]();
  return result;
}

/** A lock that is held until it is released, lost or collected. */
export class HeldLock extends Held {
  /**
   * Releases the lock; does nothing at the second time.
   *
   * @throws {LockLostError} when it was not held any more.
   */
  async release(): Promise<void> {
    await this.giveBack();
  }
}

/** Leading, until it is resigned, lost or collected. */
export class Leadership extends Held {
  /** The term: another name of the token. */
  get term(): number {
    return this.token;
  }

  /** Announces another value to those who observe; the term stays. */
  async proclaim(value: Bytes, { signal }: Abortable = {}): Promise<void> {
    const announced = toBuffer(value, 'value');
    await crossing(signal, (token) => this.native.proclaim(token, announced));
  }

  /**
   * Gives the leadership up; does nothing at the second time.
   *
   * @throws {LeadershipLostError} when it did not lead any more.
   */
  async resign(): Promise<void> {
    await this.giveBack();
  }
}
