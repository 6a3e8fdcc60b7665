// Work that is done once, whoever asks.

import { toBuffer, type Bytes } from './bytes.js';
import { crossing, type Abortable } from './crossing.js';
import { unwrap } from './errors.js';
import { HeldLock } from './held.js';
import type * as Native from './native.cjs';

/** What the work depends on, and how long to wait for another's. */
export interface OnceOptions {
  /** What the result depends on: with another input there is another result. */
  input?: Bytes | undefined;
  /** How long to wait for another's result, in milliseconds (default: for ever). */
  timeoutMs?: number | undefined;
}

/** A result. */
export class OnceResult {
  readonly value: Buffer;
  readonly revision: number;
  /** Whether the work was done by this call. */
  readonly ran: boolean;

  /** @internal */
  constructor({ value, revision, ran }: Native.NativeOnceResult) {
    this.value = value;
    this.revision = revision;
    this.ran = ran;
  }

  /** The result as text. */
  get text(): string {
    return this.value.toString();
  }

  /** The result, read as JSON. */
  json(): unknown {
    return JSON.parse(this.text);
  }
}

/** Work that is done once; made by {@link Client.once}. */
export class Once {
  readonly #native: Native.NativeClient;
  readonly #name: Buffer;
  readonly #options: Native.OnceOptions;

  /** @internal */
  constructor(native: Native.NativeClient, name: Bytes, { input, timeoutMs }: OnceOptions) {
    this.#native = native;
    this.#name = toBuffer(name, 'name');
    this.#options = { timeoutMs, input: input === undefined ? undefined : toBuffer(input, 'input') };
  }

  /** Its name, as text. */
  get name(): string {
    return this.#name.toString();
  }

  /**
   * The result, or that of `work`, which is done by one caller at a time, anywhere. Who waits for
   * another's work takes over if the other dies or fails. Results are small, at most 1 MiB.
   *
   * `work` should stop when `lock.signal` aborts. What it throws goes on to the caller, and others
   * may try then.
   */
  async getOrRun(
    work: (lock: HeldLock) => Bytes | PromiseLike<Bytes>,
    { signal }: Abortable = {},
  ): Promise<OnceResult> {
    const call = (token: Native.CancelToken) => this.#native.onceBegin(token, this.#name, this.#options);
    const step = await crossing(signal, call, (late) => late.work?.abandon());
    if (step.result != null) return new OnceResult(step.result);
    if (step.work == null || step.holding == null) throw new TypeError('neither a result nor work');
    let value: Buffer;
    try {
      value = toBuffer(await work(new HeldLock(step.holding)), 'result');
    } catch (error) {
      step.work.abandon();
      throw error;
    }
    return new OnceResult(unwrap(await step.work.finish(value)));
  }

  /** The result, if there is one. */
  async get({ signal }: Abortable = {}): Promise<OnceResult | null> {
    const found = await crossing(signal, (token) => this.#native.onceGet(token, this.#name, this.#options));
    return found == null ? null : new OnceResult(found);
  }

  /**
   * The result as soon as somebody has it, without doing the work.
   *
   * @throws {TimeoutError} when there is none within `timeoutMs`.
   */
  async wait({ signal }: Abortable = {}): Promise<OnceResult> {
    const call = (token: Native.CancelToken) => this.#native.onceWait(token, this.#name, this.#options);
    return new OnceResult(await crossing(signal, call));
  }

  /** Forgets the result, so that the work is done again; whether there was one. */
  async forget({ signal }: Abortable = {}): Promise<boolean> {
    return crossing(signal, (token) => this.#native.onceForget(token, this.#name, this.#options));
  }
}
