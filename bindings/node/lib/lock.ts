// Locks: one holder for each name, first come, first served.

import { inspect } from 'node:util';

import { toBuffer, type Bytes } from './bytes.js';
import { crossing, type Abortable } from './crossing.js';
import { HeldLock, during } from './held.js';
import type * as Native from './native.cjs';
import { Line, Member, toWaits, type Waiting } from './types.js';

/** How a lock is acquired and held. Times are in milliseconds. */
export interface LockOptions {
  /** How long to wait for it (default: for ever). */
  timeoutMs?: number | undefined;
  /** It is given up after it was held for so long, whatever the work does. */
  maxHoldMs?: number | undefined;
  /** It is given up when `beat()` is not called for so long. */
  beatMs?: number | undefined;
  /** Wait again if the session is lost while waiting, instead of failing. */
  rejoin?: boolean | undefined;
  /** Called when the wait begins, and whenever the line right ahead gets shorter. */
  onWait?: ((waiting: Waiting) => void) | undefined;
}

/**
 * A lock that can be acquired; made by {@link Client.lock}. Each acquisition is one holder: two of
 * one program exclude each other. Works together with `etcdctl lock` on the same name.
 */
export class Lock {
  readonly #native: Native.NativeClient;
  readonly #name: Buffer;
  readonly #options: LockOptions;

  /** @internal */
  constructor(native: Native.NativeClient, name: Bytes, options: LockOptions) {
    this.#native = native;
    this.#name = toBuffer(name, 'name');
    this.#options = options;
  }

  /** @internal */
  [inspect.custom](): string {
    return `<Lock ${this.name}>`;
  }

  /** Its name, as text. */
  get name(): string {
    return this.#name.toString();
  }

  /**
   * Waits for the lock. Best with `await using`, which releases it at the end of the block.
   *
   * @throws {LockTimeoutError} with the holder and the place in line, when it was not free in time.
   */
  async acquire({ signal }: Abortable = {}): Promise<HeldLock> {
    const waits = toWaits(this.#options.onWait);
    const call = (token: Native.CancelToken) => this.#native.lock(token, this.#name, this.#options, waits);
    return new HeldLock(await crossing(signal, call, (late) => late.abandon()));
  }

  /** Takes the lock if nobody has it or waits for it; `null` if somebody does: see {@link holder}. */
  async tryAcquire({ signal }: Abortable = {}): Promise<HeldLock | null> {
    const call = (token: Native.CancelToken) => this.#native.tryLock(token, this.#name, this.#options);
    const tried = await crossing(signal, call, (late) => late.holding?.abandon());
    return tried.holding == null ? null : new HeldLock(tried.holding);
  }

  /**
   * Runs `work` while the lock is held, and releases it when `work` has ended. When the lock is
   * lost meanwhile `lock.signal` aborts, and the result is a {@link LockLostError} unless `work`
   * throws something else.
   */
  async use<T>(work: (lock: HeldLock) => T | PromiseLike<T>, options: Abortable = {}): Promise<T> {
    return during(await this.acquire(options), work);
  }

  /** Who holds and who waits. */
  async line({ signal }: Abortable = {}): Promise<Line> {
    return new Line(await crossing(signal, (token) => this.#native.lockLine(token, this.#name)));
  }

  /** Who holds; `null` if nobody does. */
  async holder(options: Abortable = {}): Promise<Member | null> {
    return (await this.line(options)).holder;
  }

  /**
   * Takes the lock away from whoever holds it, who learns by whom and why. Returns the holder,
   * or `null` if nobody holds.
   */
  async breakHolder(why: string, { signal }: Abortable = {}): Promise<Member | null> {
    const call = (token: Native.CancelToken) => this.#native.breakLock(token, this.#name, why);
    const holder = await crossing(signal, call);
    return holder == null ? null : new Member(holder);
  }
}
