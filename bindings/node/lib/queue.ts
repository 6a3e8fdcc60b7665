// Queues: work that is handed out, done and acknowledged.

import { toBuffer, type Bytes } from './bytes.js';
import { asked, crossing, type Abortable } from './crossing.js';
import { unwrap } from './errors.js';
import { Held } from './held.js';
import type * as Native from './native.cjs';
import type { Op } from './txn.js';
import { Member } from './types.js';

/** What an item is, and what it waits for. */
export interface PushOptions extends Abortable {
  /** An id of its own: pushing it again does nothing (default: a random one). */
  id?: string | undefined;
  /** It waits until these items are done. */
  after?: readonly string[] | undefined;
  /** It waits until this gate is open. */
  gate?: string | undefined;
  /** It opens this gate when it is done. */
  opens?: string | undefined;
}

/** How items are taken. */
export interface WorkerOptions {
  /** An item that failed so often is a dead letter (default: the queue's). */
  maxAttempts?: number | undefined;
  /** Only in the order of their pushes: an item that fails holds up all behind it. */
  strict?: boolean | undefined;
  /** How long to wait for an item, in milliseconds (default: for ever). */
  timeoutMs?: number | undefined;
}

/** How a queue remembers. */
export interface QueueOptions {
  /**
   * How many acknowledged items are remembered (default 10,000), so that their ids are not accepted
   * again, and later items can wait for them.
   */
  keepHistory?: number | undefined;
}

/** What all items wait for: so many of them, a gate, or a `run`; `{}` for nothing. */
export interface Condition {
  count?: number | undefined;
  gate?: string | undefined;
  start?: boolean | undefined;
}

/** What became of a push. */
export interface Pushed {
  readonly id: string;
  readonly revision: number;
  /** Whether an item of this id was there already, and nothing was pushed. */
  readonly duplicate: boolean;
}

/** An item that is not done. */
export interface QueueItem {
  readonly id: string;
  readonly state: 'ready' | 'blocked' | 'claimed' | 'dead' | 'done' | 'unknown';
  /** Who works on it. */
  readonly claimedBy: Member | null;
  readonly ageMs: number;
  readonly attempts: number;
  /** What the last worker that gave it back said. */
  readonly said: string | null;
  /** How many bytes were pushed. */
  readonly size: number;
  readonly revision: number;
}

/** A queue at one revision: how many items are in which state. */
export interface QueueStatus {
  readonly control: 'run' | 'pause' | 'drain';
  /** What all items wait for, for people. */
  readonly condition: string;
  /** Whether the condition holds and the queue is not paused. */
  readonly open: boolean;
  readonly ready: number;
  readonly blocked: number;
  readonly claimed: number;
  readonly dead: number;
  readonly done: number;
  readonly workers: number;
  readonly revision: number;
}

/** An item that failed too often. */
export interface DeadLetter {
  readonly id: string;
  readonly payload: Buffer;
  readonly attempts: number;
  readonly said: string | null;
  readonly revision: number;
}

/** An acknowledgement, and the item that was claimed with it. */
export interface AckedAndNext {
  readonly revision: number;
  readonly next: Claim | null;
}

/** Why an item is where it is. */
export interface Why {
  readonly id: string;
  readonly state: QueueItem['state'];
  /** All that keeps it from being claimed: a stable word, and a text for people. */
  readonly reasons: readonly { readonly code: string; readonly text: string }[];
}

/**
 * An item that this program works on. Best with {@link use}. At the end of `await using` it is
 * given back without counting the attempt, unless it was acknowledged or failed before.
 */
export class Claim extends Held {
  #settled = false;
  #next: Claim | null = null;
  readonly #worker: Native.NativeWorker;
  readonly id: string;
  readonly payload: Buffer;
  /** Which attempt this is, from 1. */
  readonly attempt: number;

  /** @internal */
  constructor(raw: Native.NativeClaimed, worker: Native.NativeWorker) {
    super(raw.holding);
    this.#worker = worker;
    this.id = raw.id;
    this.payload = raw.payload;
    this.attempt = raw.attempt;
  }

  /** The payload as text. */
  get text(): string {
    return this.payload.toString();
  }

  /** The payload, read as JSON. */
  json(): unknown {
    return JSON.parse(this.text);
  }

  /**
   * Says that the item is done, and makes the writes of `then` at the same revision: both or
   * neither. The revision.
   *
   * @throws {AckLostError} when the claim was lost: nothing was written, somebody else does it.
   */
  async ack(then: readonly Op[] = []): Promise<number> {
    this.#settled = true;
    return unwrap(await this.native.ack(then.map(({ raw }) => raw)));
  }

  /**
   * As {@link ack}, and claims the next item in the same transaction, which saves a round trip.
   * Does not wait: `next` is `null` when no item was there for the taking. In a loop over
   * {@link Queue.items} the loop goes on with `next`, so that nothing has to be done with it.
   *
   * When `signal` aborts meanwhile, the item is acknowledged nevertheless, and no other is taken.
   *
   * @throws {AckLostError} when the claim was lost: nothing was written, and nothing was claimed.
   */
  async ackAndNext(then: readonly Op[] = [], { signal }: Abortable = {}): Promise<AckedAndNext> {
    signal?.throwIfAborted();
    this.#settled = true;
    const ops = then.map(({ raw }) => raw);
    // No token: an acknowledgement runs to its end.
    const call = () => this.#worker.ackAndNext(this.native, ops);
    const { revision, next } = await crossing(signal, call, (late) => giveBack(late.next));
    this.#next = next == null ? null : new Claim(next, this.#worker);
    return { revision, next: this.#next };
  }

  /** What was claimed with the acknowledgement, unless it is done with. @internal */
  takeNext(): Claim | null {
    const next = this.#next;
    this.#next = null;
    return next === null || next.#settled ? null : next;
  }

  /** Gives the item back as failed; whether it is a dead letter now. */
  async nack(why = ''): Promise<boolean> {
    this.#settled = true;
    return unwrap(await this.native.nack(why));
  }

  /** Gives the item back; the attempt does not count. Does nothing when it is given back. */
  async release(): Promise<void> {
    this.#settled = true;
    await this.giveBack();
  }

  /**
   * Runs `work`, and acknowledges the item when it has ended, unless `work` has done so, failed it
   * or given it back. What `work` throws gives the item back as failed, and goes on to the caller;
   * if `signal` was aborted by then, the attempt does not count.
   *
   * @throws {AckLostError} when the claim was lost meanwhile; `claim.signal` told of it.
   */
  async use<T>(work: (claim: this) => T | PromiseLike<T>, { signal }: Abortable = {}): Promise<T> {
    this.enter();
    let result: T;
    try {
      result = await work(this);
    } catch (error) {
      // What the work says goes first.
      if (!this.#settled) {
        const back = signal?.aborted ? this.release() : this.nack(String(error));
        await back.catch(() => undefined);
      }
      throw error;
    }
    if (!this.#settled) await this.ack();
    return result;
  }
}

/** A queue; made by {@link Client.queue}. */
export class Queue {
  readonly #native: Native.NativeQueue;
  /** Its name, as text. */
  readonly name: string;

  /** @internal */
  constructor(queue: Native.NativeQueue, name: string) {
    this.#native = queue;
    this.name = name;
  }

  /** Adds an item at the end. */
  async push(payload: Bytes, { signal, after, ...options }: PushOptions = {}): Promise<Pushed> {
    const content = toBuffer(payload, 'payload');
    const settings = { ...options, after: after === undefined ? undefined : [...after] };
    return crossing(signal, (token) => this.#native.push(token, content, settings));
  }

  /** Takes one item; `null` when the queue is drained. */
  async claim({ signal, ...options }: WorkerOptions & Abortable = {}): Promise<Claim | null> {
    return take(unwrap(asked(() => this.#native.worker({ ...options, once: true }))), signal);
  }

  /**
   * Items one after the other, until the queue is drained. An item that the loop's body neither
   * acknowledges nor fails is given back when the next one is taken, and when the loop is left.
   *
   * ```ts
   * for await (const item of hf.queue('images').items()) {
   *   await item.use(async () => {
   *     await item.ack([op.put(`done/${item.id}`, await work(item.payload))]);
   *   });
   * }
   * ```
   */
  async *items({ signal, ...options }: WorkerOptions & Abortable = {}): AsyncGenerator<Claim, void, undefined> {
    const worker = unwrap(asked(() => this.#native.worker({ ...options, once: false })));
    let next: Claim | null = null;
    try {
      for (;;) {
        signal?.throwIfAborted();
        const claim: Claim | null = next ?? (await take(worker, signal));
        if (claim === null) return;
        next = null;
        try {
          yield claim;
        } finally {
          next = claim.takeNext();
          // What was lost is not this program's to give back.
          await claim.release().catch(() => undefined);
        }
      }
    } finally {
      await next?.release().catch(() => undefined);
    }
  }

  /** Items until the queue is drained: {@link items} without options. */
  [Symbol.asyncIterator](): AsyncGenerator<Claim, void, undefined> {
    return this.items();
  }

  /** Lets it run, or lets nobody claim (`pause`) or push (`drain`). */
  async control(word: 'run' | 'pause' | 'drain', { signal }: Abortable = {}): Promise<void> {
    await crossing(signal, (token) => this.#native.control(token, word));
  }

  /** Says what all items wait for. */
  async condition(condition: Condition, { signal }: Abortable = {}): Promise<void> {
    await crossing(signal, (token) => this.#native.condition(token, condition));
  }

  /** Opens a gate; whether it was shut. */
  async openGate(gate: string, { signal }: Abortable = {}): Promise<boolean> {
    return crossing(signal, (token) => this.#native.openGate(token, gate));
  }

  /** The items that are not done, in order. */
  async list({ signal }: Abortable = {}): Promise<QueueItem[]> {
    const items = await crossing(signal, (token) => this.#native.list(token));
    return items.map(({ claimedBy, said, state, ...item }) => ({
      ...item,
      state: state as QueueItem['state'],
      claimedBy: claimedBy == null ? null : new Member(claimedBy),
      said: said ?? null,
    }));
  }

  /** How many items are in which state. */
  async status({ signal }: Abortable = {}): Promise<QueueStatus> {
    return (await crossing(signal, (token) => this.#native.status(token))) as QueueStatus;
  }

  /** Why an item is where it is. */
  async why(id: string, { signal }: Abortable = {}): Promise<Why> {
    return (await crossing(signal, (token) => this.#native.why(token, id))) as Why;
  }

  /** The items that failed too often. */
  async dead({ signal }: Abortable = {}): Promise<DeadLetter[]> {
    const letters = await crossing(signal, (token) => this.#native.dead(token));
    return letters.map(({ said, ...letter }) => ({ ...letter, said: said ?? null }));
  }

  /** Puts a dead letter back into the queue; whether there was one. */
  async retry(id: string, { signal }: Abortable = {}): Promise<boolean> {
    return crossing(signal, (token) => this.#native.retry(token, id));
  }
}

async function take(worker: Native.NativeWorker, signal: AbortSignal | undefined): Promise<Claim | null> {
  const claimed = await crossing(signal, (token) => worker.next(token), giveBack);
  return claimed == null ? null : new Claim(claimed, worker);
}

/** As if it had never been taken. */
function giveBack(late: Native.NativeClaimed | null | undefined): void {
  void late?.holding.release().catch(() => undefined);
}

/** @internal */
export function openQueue(client: Native.NativeClient, name: Bytes, options: QueueOptions): Queue {
  const raw = toBuffer(name, 'name');
  return new Queue(unwrap(client.queue(raw, options.keepHistory)), raw.toString());
}
