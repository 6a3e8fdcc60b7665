// Elections: one leader for each name, with a value to announce.

import { inspect } from 'node:util';

import { toBuffer, type Bytes } from './bytes.js';
import { crossing, type Abortable } from './crossing.js';
import { LeadershipLostError } from './errors.js';
import { Leadership, during } from './held.js';
import type * as Native from './native.cjs';
import { stream, type Stream } from './streams.js';
import { Leader, Line, Member, toWaits, type Waiting } from './types.js';

/** How a program stands for election. */
export interface ElectionOptions {
  /** What observers see when this candidate leads (default: empty). */
  value?: Bytes | undefined;
  /** How long to campaign, in milliseconds (default: for ever). */
  timeoutMs?: number | undefined;
  /** Campaign again if the session is lost while waiting, instead of failing. */
  rejoin?: boolean | undefined;
  /** Lets {@link Election.lead} campaign again, and do its work again, when the lead was lost. */
  again?: boolean | undefined;
  /** The leadership is given up after it was had for so long, whatever the work does. */
  maxHoldMs?: number | undefined;
  /** It is given up when `beat()` is not called for so long. */
  beatMs?: number | undefined;
  /** Called when the wait begins, and whenever the line right ahead gets shorter. */
  onWait?: ((waiting: Waiting) => void) | undefined;
}

/** An election; made by {@link Client.election}. Works together with `etcdctl elect`. */
export class Election {
  readonly #native: Native.NativeClient;
  readonly #name: Buffer;
  readonly #options: Native.ElectionOptions;
  readonly #again: boolean;
  readonly #waits: ReturnType<typeof toWaits>;

  /** @internal */
  constructor(native: Native.NativeClient, name: Bytes, options: ElectionOptions) {
    this.#native = native;
    this.#name = toBuffer(name, 'name');
    const { value, timeoutMs, maxHoldMs, beatMs, again = false, rejoin = again } = options;
    this.#again = again;
    this.#waits = toWaits(options.onWait);
    this.#options = {
      timeoutMs,
      maxHoldMs,
      beatMs,
      rejoin,
      value: value === undefined ? undefined : toBuffer(value, 'value'),
    };
  }

  /** @internal */
  [inspect.custom](): string {
    return `<Election ${this.name}>`;
  }

  /** Its name, as text. */
  get name(): string {
    return this.#name.toString();
  }

  /** Waits to be elected. Best with `await using`, which resigns at the end of the block. */
  async campaign({ signal }: Abortable = {}): Promise<Leadership> {
    const call = (token: Native.CancelToken) =>
      this.#native.campaign(token, this.#name, this.#options, this.#waits);
    return new Leadership(await crossing(signal, call, (late) => late.abandon()));
  }

  /**
   * Campaigns, runs `work` while leading, and resigns when `work` has ended. When the leadership
   * is lost meanwhile `term.signal` aborts, and the result is a {@link LeadershipLostError} unless
   * `work` throws something else. With `again` it campaigns and works again instead.
   */
  async lead<T>(work: (term: Leadership) => T | PromiseLike<T>, options: Abortable = {}): Promise<T> {
    for (;;) {
      const term = await this.campaign(options);
      try {
        return await during(term, work);
      } catch (error) {
        // It may be the loss of another lead, which `work` had, too.
        if (!this.#again || !(error instanceof LeadershipLostError) || !wasLost(term)) throw error;
      }
    }
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
   * Follows who leads: first who does now, then each change, with `null` while nobody does.
   * Leaders that came and went unseen in between are left out.
   */
  async observe({ signal }: Abortable = {}): Promise<Stream<Leader | null>> {
    const call = (token: Native.CancelToken) => this.#native.observe(token, this.#name);
    const observer = await crossing(signal, call, (late) => late.close());
    return stream(observer, signal, ({ leader }) => [leader == null ? null : new Leader(leader)]);
  }

  /**
   * Takes the leadership away from whoever has it, who learns by whom and why. Returns the leader,
   * or `null` if nobody leads.
   */
  async breakLeader(why: string, { signal }: Abortable = {}): Promise<Member | null> {
    const leader = await crossing(signal, (token) => this.#native.breakLeader(token, this.#name, why));
    return leader == null ? null : new Member(leader);
  }
}

function wasLost(term: Leadership): boolean {
  try {
    term.check();
  } catch (error) {
    return error instanceof LeadershipLostError && error.reason !== 'released';
  }
  return false;
}
