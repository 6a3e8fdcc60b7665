// Leases: keys that go away when a program does.

import { crossing, type Abortable } from './crossing.js';
import { unwrap } from './errors.js';
import type * as Native from './native.cjs';

/** What the server knows of a lease. */
export interface LeaseInfo {
  readonly remainingMs: number;
  readonly ttlMs: number;
  readonly keys: readonly Buffer[];
}

/** A lease. It is renewed in the background until it is stopped, revoked or collected. */
export class Lease implements AsyncDisposable {
  readonly #native: Native.NativeLease;
  /** Its id, in the hexadecimal digits that `etcdctl` shows. */
  readonly id: string;
  /** The time that the server granted. */
  readonly ttlMs: number;
  /** Aborts when the renewal finds the lease gone; not when it was stopped or revoked here. */
  readonly signal: AbortSignal;

  /** @internal */
  constructor(native: Native.NativeLease) {
    this.#native = native;
    this.id = native.id;
    this.ttlMs = native.ttl * 1000;
    const lost = new AbortController();
    native.onLost(() => lost.abort());
    this.signal = lost.signal;
  }

  /** How long it has left, and which keys it holds. */
  async info({ signal }: Abortable = {}): Promise<LeaseInfo> {
    const info = await crossing(signal, (token) => this.#native.timeToLive(token));
    const { ttl, grantedTtl, keys } = info;
    return { remainingMs: ttl * 1000, ttlMs: grantedTtl * 1000, keys };
  }

  /** Stops the renewal; the lease then ends after its time. */
  stop(): void {
    this.#native.stop();
  }

  /** Ends the lease and deletes its keys. */
  async revoke(): Promise<void> {
    unwrap(await this.#native.revoke());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.revoke();
  }
}
