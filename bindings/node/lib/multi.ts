// Several locks at once, with no deadlock whatever the order.

import { toBuffer, type Bytes } from './bytes.js';
import { crossing, type Abortable } from './crossing.js';
import { HeldLock, during } from './held.js';
import type { LockOptions } from './lock.js';
import type * as Native from './native.cjs';
import { toWaits } from './types.js';

/** Several locks that are held. When one of them is lost, all are. */
export class HeldLocks extends HeldLock {
  /** The names, in order, without repetitions. */
  readonly names: readonly string[];
  /** The names whose holder before ended without giving them back. */
  readonly died: readonly string[];

  /** @internal */
  constructor(native: Native.NativeHolding, raw: Native.NativeMulti) {
    super(native);
    this.names = raw.names.map(String);
    this.died = raw.died.map(String);
  }
}

/** Several locks that are acquired together, in one transaction; made by {@link Client.multiLock}. */
export class MultiLock {
  readonly #native: Native.NativeClient;
  readonly #names: Buffer[];
  readonly #options: LockOptions;

  /** @internal */
  constructor(native: Native.NativeClient, names: Iterable<Bytes>, options: LockOptions) {
    this.#native = native;
    this.#names = Array.from(names, (name) => toBuffer(name, 'name'));
    this.#options = options;
  }

  /** The names as they were given, as text. */
  get names(): readonly string[] {
    return this.#names.map(String);
  }

  /** Waits until all are held. Best with `await using`, which releases them. */
  async acquire({ signal }: Abortable = {}): Promise<HeldLocks> {
    const waits = toWaits(this.#options.onWait);
    const call = (token: Native.CancelToken) =>
      this.#native.multiLock(token, this.#names, this.#options, waits);
    return held(await crossing(signal, call, abandon)) as HeldLocks;
  }

  /** Takes all if nobody has or waits for any of them; `null` if somebody does. */
  async tryAcquire({ signal }: Abortable = {}): Promise<HeldLocks | null> {
    const call = (token: Native.CancelToken) => this.#native.tryMultiLock(token, this.#names, this.#options);
    return held(await crossing(signal, call, abandon));
  }

  /** As {@link Lock.use}, with all of them. */
  async use<T>(work: (locks: HeldLocks) => T | PromiseLike<T>, options: Abortable = {}): Promise<T> {
    return during(await this.acquire(options), work);
  }
}

function held(raw: Native.NativeMulti): HeldLocks | null {
  return raw.holding == null ? null : new HeldLocks(raw.holding, raw);
}

function abandon(late: Native.NativeMulti): void {
  late.holding?.abandon();
}
