// Services: who serves, and whom to call.

import { inspect } from 'node:util';

import { toBuffer, type Bytes } from './bytes.js';
import { crossing, type Abortable } from './crossing.js';
import { toError, toMs, unwrap } from './errors.js';
import type * as Native from './native.cjs';
import { Streams, stream, type Stream } from './streams.js';

/** Whether an instance takes calls. */
export type InstanceStatus = 'warming' | 'up' | 'draining';

/** What an instance says of itself. */
export interface InstanceInfo {
  /** Its share of calls, beside the others' (default 1). */
  weight?: number | undefined;
  zone?: string | undefined;
  version?: string | undefined;
  status?: InstanceStatus | undefined;
  /** Whatever else it says. */
  metadata?: Readonly<Record<string, string>> | undefined;
}

/** An instance of a service. */
export interface Instance {
  readonly id: string;
  /** Where it is reached. */
  readonly addr: string;
  readonly weight: number;
  readonly zone: string;
  readonly version: string;
  readonly status: InstanceStatus;
  readonly metadata: Readonly<Record<string, string>>;
  /** The lease it is registered on; `null` for an entry written by hand. */
  readonly lease: string | null;
  /** Another one means that it registered anew. */
  readonly token: number;
  readonly revision: number;
  /** Its lease ended together with many others': more often the registry is ill than all of them. */
  readonly suspect: boolean;
}

/** Who is listed, as it is known here; iterating gives the instances, by id. */
export class ServiceList implements Iterable<Instance> {
  readonly instances: readonly Instance[];
  readonly revision: number;
  /** For how long no server has been heard of. */
  readonly staleForMs: number;

  /** @internal */
  constructor({ instances, revision, staleForMs }: Native.NativeList) {
    this.instances = instances.map(toInstance);
    this.revision = revision;
    this.staleForMs = staleForMs;
  }

  [Symbol.iterator](): Iterator<Instance> {
    return this.instances[Symbol.iterator]();
  }
}

/** What happened to an instance. */
export interface ServiceChange {
  readonly kind: 'joined' | 'updated' | 'left' | 'died' | 'suspect' | (string & {});
  readonly instance: Instance;
  /** Of `updated`: what it said before. */
  readonly before: Instance | null;
}

/** Where a registration stands. */
export interface RegistrationState {
  /**
   * `pending`: to be listed as soon as a server answers. `listed`. `duplicate`: somebody else has
   * the id, since this session was lost. `ended`.
   */
  readonly code: 'pending' | 'listed' | 'duplicate' | 'ended';
  readonly revision?: number | null | undefined;
  readonly lease?: string | null | undefined;
  readonly reason?: string | null | undefined;
}

/** How to choose: `hash` and `sticky` need a key. */
export type PickBy = 'p2c' | 'round_robin' | 'weighted' | 'random' | 'hash' | 'sticky';

/** How to choose an instance. */
export interface PickOptions {
  /** Default `p2c`: the less loaded of two random ones. */
  by?: PickBy | undefined;
  /** For `hash` and `sticky`: calls with the same key go to the same instance. */
  key?: Bytes | undefined;
}

/** A service; made by {@link Client.service}. */
export class Service {
  readonly #native: Native.NativeClient;
  readonly name: string;

  /** @internal */
  constructor(native: Native.NativeClient, name: string) {
    this.#native = native;
    this.name = name;
  }

  /**
   * Lists an instance until it is unregistered, this process ends, or the client is closed. Should
   * the session be lost, it is listed again by itself.
   *
   * @throws {DuplicateInstanceError} when somebody else has the id.
   */
  async register(
    id: string,
    addr: string,
    { signal, waitMs, ...info }: InstanceInfo & Abortable & { waitMs?: number | undefined } = {},
  ): Promise<Registration> {
    const said = { ...toSaid(info), addr };
    const wait = toMs(waitMs, 'waitMs');
    const call = (token: Native.CancelToken) => this.#native.register(token, this.name, id, said, wait);
    const native = await crossing(signal, call, (late) => void late.unregister().catch(() => undefined));
    return new Registration(this.name, id, native);
  }

  /** Who is listed now: one read, nothing is followed. */
  async list({ signal }: Abortable = {}): Promise<readonly Instance[]> {
    const listed = await crossing(signal, (token) => this.#native.serviceList(token, this.name));
    return listed.map(toInstance);
  }

  /** Sets the status of an instance from outside: the revision, `null` if it is not listed. */
  async setStatus(id: string, status: InstanceStatus, { signal }: Abortable = {}): Promise<number | null> {
    const call = (token: Native.CancelToken) => this.#native.serviceSetStatus(token, this.name, id, status);
    return (await crossing(signal, call)) ?? null;
  }

  /**
   * Follows who is listed. When more than half of the instances, and at least three, die within
   * `guardMs`, they are kept for a while as suspects (default: the TTL; 0 believes it at once).
   */
  async discover({ signal, guardMs }: Abortable & { guardMs?: number | undefined } = {}): Promise<Discovery> {
    const guard = toMs(guardMs, 'guardMs');
    const call = (token: Native.CancelToken) => this.#native.discover(token, this.name, guard);
    return new Discovery(this.name, await crossing(signal, call, (late) => late.close()));
  }
}

/** An instance that is kept listed. */
export class Registration implements AsyncDisposable {
  /** The service's name. */
  readonly service: string;
  readonly id: string;
  readonly #native: Native.NativeRegistration;

  /** @internal */
  constructor(service: string, id: string, native: Native.NativeRegistration) {
    this.service = service;
    this.id = id;
    this.#native = native;
  }

  /** Its key in the store. */
  get key(): string {
    return this.#native.key.toString();
  }

  /** @internal */
  [inspect.custom](): string {
    return `<Registration ${this.service}/${this.id} ${this.state.code}>`;
  }

  /** Where it stands at this instant. */
  get state(): RegistrationState {
    return this.#native.state as RegistrationState;
  }

  /** Changes what is said of the instance, in place; the revision. */
  async update(
    { signal, addr, ...info }: InstanceInfo & Abortable & { addr?: string | undefined },
  ): Promise<number> {
    const said = { ...toSaid(info), addr };
    return crossing(signal, (token) => this.#native.update(token, said));
  }

  /** Takes it off the list for good, and lets others know that it left and did not die. */
  async unregister(): Promise<void> {
    unwrap(await this.#native.unregister());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.unregister();
  }
}

/** A followed list of instances. Asking it needs no server; it serves on while none answers. */
export class Discovery implements AsyncDisposable {
  readonly #native: Native.NativeDiscovery;
  readonly #streams = new Streams();
  /** The service's name. */
  readonly service: string;

  /** @internal */
  constructor(service: string, native: Native.NativeDiscovery) {
    this.service = service;
    this.#native = native;
  }

  /** Who is listed. */
  list(): ServiceList {
    return new ServiceList(unwrap(this.#native.list()));
  }

  /** Changes of the list, from now on. */
  changes({ signal }: Abortable = {}): Stream<ServiceChange> {
    const changes = stream(unwrap(this.#native.changes()), signal, ({ code, instance, before }) => [
      { kind: code, instance: toInstance(instance), before: before == null ? null : toInstance(before) },
    ]);
    return this.#streams.add(changes);
  }

  /**
   * Chooses an instance for one call; tell with {@link Picked.report} how it went.
   *
   * @throws {NoInstanceError} when there is none.
   */
  pick({ by = 'p2c', key }: PickOptions = {}): Picked {
    return new Picked(unwrap(this.#native.pick(by, key === undefined ? undefined : toBuffer(key))));
  }

  /** As {@link pick}, once there is one. */
  async pickWhenReady({ by = 'p2c', key, signal }: PickOptions & Abortable = {}): Promise<Picked> {
    const chosen = key === undefined ? undefined : toBuffer(key);
    return new Picked(await crossing(signal, (token) => this.#native.pickWhenReady(token, by, chosen)));
  }

  /** Waits until everything up to `revision` is known here. */
  async atLeast(revision: number, { signal }: Abortable = {}): Promise<void> {
    await crossing(signal, (token) => this.#native.atLeast(token, revision));
  }

  /** Follows no more, and ends all iterations. */
  close(): void {
    this.#streams.close();
    this.#native.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}

/** An instance chosen for one call. */
export class Picked {
  readonly instance: Instance;
  readonly #native: Native.NativePicked;

  /** @internal */
  constructor(native: Native.NativePicked) {
    const instance = native.instance();
    if (instance == null) throw new TypeError('reported before');
    this.instance = toInstance(instance);
    this.#native = native;
  }

  /** Where to call. */
  get addr(): string {
    return this.instance.addr;
  }

  /**
   * Makes the call, and reports whether it went well. An answer that says "no" is not a failure:
   * what counts is whether the instance works. A call that was aborted says nothing of it.
   */
  async use<T>(call: (picked: this) => T | PromiseLike<T>): Promise<T> {
    try {
      const answer = await call(this);
      this.report(true);
      return answer;
    } catch (error) {
      if ((error as { name?: unknown } | null)?.name !== 'AbortError') this.report(false);
      throw error;
    }
  }

  /** Says how the call went; without `latencyMs` it took as long as since the pick. Once. */
  report(ok: boolean, latencyMs?: number): void {
    const failure = this.#native.report(ok, toMs(latencyMs, 'latencyMs'));
    if (failure != null) throw toError(failure);
  }
}

function toSaid({ weight, zone, version, status, metadata }: InstanceInfo): Native.NativeSaid {
  const tags = metadata && Object.entries(metadata).map(([name, value]) => ({ name, value }));
  return { weight, zone, version, status, metadata: tags };
}

function toInstance({ metadata, lease, status, ...rest }: Native.NativeInstance): Instance {
  return {
    ...rest,
    status: status as InstanceStatus,
    lease: lease ?? null,
    metadata: Object.fromEntries(metadata.map(({ name, value }) => [name, value])),
  };
}
