// The session that everything a client holds is held on.

import { EventEmitter } from 'node:events';
import { inspect } from 'node:util';

import type { Abortable } from './crossing.js';
import type * as Native from './native.cjs';
import { stream, type Stream } from './streams.js';

/** What a session is in. */
export interface SessionState {
  /**
   * `connecting`: no lease yet. `connected`: it is renewed. `suspended`: an answer is overdue, and
   * what is held is held for `remainingMs` more. `expiring`: work under a lock should stop now.
   * `lost`: what was held is gone. `recovering`: a new lease is on its way. `closed`.
   */
  readonly code: 'connecting' | 'connected' | 'suspended' | 'expiring' | 'lost' | 'recovering' | 'closed';
  /** Of `suspended` and `expiring`: milliseconds until it is lost. */
  readonly remainingMs?: number;
  /** Of `lost`: why, in a stable word. */
  readonly reason?: string;
  /** Of `lost`: why, for people. */
  readonly message?: string;
}

function toState(raw: Native.NativeState): SessionState {
  return {
    code: raw.code as SessionState['code'],
    ...(raw.remainingMs == null ? {} : { remainingMs: raw.remainingMs }),
    ...(raw.reason == null ? {} : { reason: raw.reason }),
    ...(raw.message == null ? {} : { message: raw.message }),
  };
}

/**
 * The session of a client. `session.on('state', listener)` tells of changes and does not keep the
 * process open; `for await (const state of session.states())` does.
 */
export class Session extends EventEmitter<{ state: [SessionState] }> {
  readonly #native: Native.NativeSession;
  #told = false;

  /** @internal */
  constructor(native: Native.NativeSession) {
    super();
    this.#native = native;
    (this as EventEmitter).on('newListener', (event: string) => {
      if (event !== 'state' || this.#told) return;
      this.#told = true;
      native.onState((state) => this.emit('state', toState(state)));
    });
  }

  /** @internal */
  [inspect.custom](): string {
    return `<Session ${this.lease ?? 'without a lease'} ${this.state.code}>`;
  }

  /** The state at this instant. */
  get state(): SessionState {
    return toState(this.#native.state);
  }

  /** Milliseconds that what is held is held for certain if nothing more is heard. */
  get remainingMs(): number {
    return this.#native.remainingMs;
  }

  /** The id of its lease; `null` while it has none. */
  get lease(): string | null {
    return this.#native.lease ?? null;
  }

  /** Changes of the state, from now on; those that came and went unseen in between are left out. */
  states({ signal }: Abortable = {}): Stream<SessionState> {
    return stream(this.#native.states(), signal, (state) => [toState(state)]);
  }
}
