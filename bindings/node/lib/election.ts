// Elections: one leader for each name, with a value to announce.

import { toBuffer, type Bytes } from './bytes.js';
import { crossing } from './crossing.js';
import { Leadership, during } from './held.js';
import type { Abortable } from './lock.js';
import type * as Native from './native.cjs';
import { stream, type Stream } from './streams.js';
import { Leader, Line } from './types.js';

/** How a program stands for election. */
export interface ElectionOptions {
  /** What observers see when this candidate leads (default: empty). */
  value?: Bytes | undefined;
  /** How long to campaign, in milliseconds (default: for ever). */
  timeoutMs?: number | undefined;
  /** Campaign again if the session is lost while waiting, instead of failing. */
  rejoin?: boolean | undefined;
}

/** An election; made by {@link Client.election}. Works together with `etcdctl elect`. */
export class Election {
  readonly #native: Native.NativeClient;
  readonly #name: Buffer;
  readonly #options: Native.ElectionOptions;

  /** @internal */
  constructor(native: Native.NativeClient, name: Bytes, options: ElectionOptions) {
    this.#native = native;
    this.#name = toBuffer(name, 'name');
    const { value, timeoutMs, rejoin } = options;
    this.#options = {
      timeoutMs,
      rejoin,
      value: value === undefined ? undefined : toBuffer(value, 'value'),
    };
  }

  /** Waits to be elected. Best with `await using`, which resigns at the end of the block. */
  async campaign({ signal }: Abortable = {}): Promise<Leadership> {
    const call = (token: Native.CancelToken) => this.#native.campaign(token, this.#name, this.#options);
    return new Leadership(await crossing(signal, call, (late) => late.abandon()));
  }

  /**
   * Campaigns, runs `work` while leading, and resigns when `work` has ended. When the leadership
   * is lost meanwhile `term.signal` aborts, and the result is a {@link LeadershipLostError} unless
   * `work` throws something else.
   */
  async lead<T>(work: (term: Leadership) => T | PromiseLike<T>, options: Abortable = {}): Promise<T> {
    return during(await this.campaign(options), work);
  }

  /** Who leads at this moment; `null` if nobody does. */
  async leader({ signal }: Abortable = {}): Promise<Leader | null> {
    const leader = await crossing(signal, (token) => this.#native.leader(token, this.#name));
    return leader == null ? null : new Leader(leader);
  }

  /** Everybody who campaigns, the leader first. */
  async candidates({ signal }: Abortable = {}): Promise<Line> {
    return new Line(await crossing(signal, (token) => this.#native.candidates(token, this.#name)));
  }

  /**
   * Follows who leads: first who does now, then each change, with `null` while nobody does. Leaders that came and went unseen in
   * between are left out.
   */
  async observe({ signal }: Abortable = {}): Promise<Stream<Leader | null>> {
    const call = (token: Native.CancelToken) => this.#native.observe(token, this.#name);
    const observer = await crossing(signal, call, (late) => late.close());
    return stream(observer, signal, ({ leader }) => [leader == null ? null : new Leader(leader)]);
  }
}
