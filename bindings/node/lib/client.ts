// The client: keys and values, and the door to everything else.

import { toBuffer, type Bytes } from './bytes.js';
import { Config, toEntries, type ConfigOptions, type Publication, type PublishOptions } from './config.js';
import { asked, crossing, type Abortable } from './crossing.js';
import { Election, type ElectionOptions } from './election.js';
import { toError, toMs, unwrap } from './errors.js';
import type { HeldLock } from './held.js';
import { Lease } from './lease.js';
import { opened } from './lifecycle.js';
import { Lock, type LockOptions } from './lock.js';
import { MultiLock } from './multi.js';
import type * as Native from './native.cjs';
import { native } from './native.js';
import { Once, type OnceOptions } from './once.js';
import { Queue, openQueue, type QueueOptions } from './queue.js';
import { Service, type Discovery } from './service.js';
import { Session } from './session.js';
import { Watch } from './streams.js';
import { compare, leaseId, op, toRequest, type Transaction } from './txn.js';
import {
  KeyValue,
  RangeResult,
  TxnResult,
  deleteResult,
  putResult,
  type CasResult,
  type DeleteResult,
  type PutResult,
} from './types.js';

/** Where etcd and handfast listen by default. */
const DEFAULT_ENDPOINT = '127.0.0.1:2379';

/** How a client is made. Times are in milliseconds. */
export interface ConnectOptions {
  /** Put before every key, also those of locks and elections. */
  namespace?: Bytes | undefined;
  /**
   * How long what this program holds stays held after it was last heard of (default 10 s).
   * Shorter frees a dead program's locks sooner and forgives shorter outages.
   */
  ttlMs?: number | undefined;
  /** How long one call may take (default 5 s). */
  timeoutMs?: number | undefined;
  /** Everything held is given up when {@link Client.beat} is not called for so long. */
  beatMs?: number | undefined;
  /** The name others see when they look who holds (default: the program's). */
  appName?: string | undefined;
}

/** Which keys to read. */
export interface RangeOptions extends Abortable {
  /** All keys that start with the given one; the empty one means every key. */
  prefix?: boolean | undefined;
  /** All keys from the given one up to this one, without it. */
  end?: Bytes | undefined;
  /** At most so many. */
  limit?: number | undefined;
  /** As it was at this revision. */
  revision?: number | undefined;
  /** Leaves out the values. */
  keysOnly?: boolean | undefined;
}

/** What to watch. */
export interface WatchOptions extends Abortable {
  /** All keys that start with the given one. */
  prefix?: boolean | undefined;
  /** From the changes of this revision on (default: from now on). */
  startRevision?: number | undefined;
  /** Gives with each change the pair as it was before. */
  previous?: boolean | undefined;
}

/** What a key may be expected to be: a value, a pair that was read, or `null` for no key. */
export type Expected = Bytes | KeyValue | null;

/** A client of one cluster, with one session for all that it holds; made by {@link connect}. */
export class Client implements AsyncDisposable {
  readonly #native: Native.NativeClient;
  #session: Session | undefined;

  /** @internal */
  constructor(opened: Native.NativeClient) {
    this.#native = opened;
  }

  /** Another name of {@link connect}. */
  static connect(endpoints?: string | readonly string[], options?: ConnectOptions): Promise<Client> {
    return connect(endpoints, options);
  }

  /** The pair at `key`, now or at `revision`; `null` if there is none. */
  async get(key: Bytes, options: Abortable & { revision?: number | undefined } = {}): Promise<KeyValue | null> {
    const { pairs } = await this.range(key, options);
    return pairs[0] ?? null;
  }

  /** The pairs of several keys. */
  async range(key: Bytes, { signal, end, ...options }: RangeOptions = {}): Promise<RangeResult> {
    const settings = { ...options, end: end === undefined ? undefined : toBuffer(end) };
    const name = toBuffer(key);
    return new RangeResult(await crossing(signal, (token) => this.#native.range(token, name, settings)));
  }

  /** Writes `key`; with a `lease` it goes away when the lease ends. */
  async put(
    key: Bytes,
    value: Bytes,
    options: Abortable & { lease?: Lease | string | undefined; previous?: boolean | undefined } = {},
  ): Promise<PutResult> {
    const { signal, lease, previous = false } = options;
    const [name, content, id] = [toBuffer(key), toBuffer(value, 'value'), leaseId(lease)];
    return putResult(
      await crossing(signal, (token) => this.#native.put(token, name, content, id, previous)),
    );
  }

  /** Deletes `key`, or with `prefix` all keys that start with it. */
  async delete(
    key: Bytes,
    options: Abortable & { prefix?: boolean | undefined; previous?: boolean | undefined } = {},
  ): Promise<DeleteResult> {
    const { signal, prefix = false, previous = false } = options;
    const name = toBuffer(key);
    return deleteResult(
      await crossing(signal, (token) => this.#native.delete(token, name, prefix, previous)),
    );
  }

  /**
   * Compare and set: writes `value` if `key` is as `expected`. A pair that was read stands for
   * exactly that version of the key, `null` for a key that is not there.
   */
  async cas(
    key: Bytes,
    expected: Expected,
    value: Bytes,
    options: Abortable & { lease?: Lease | string | undefined } = {},
  ): Promise<CasResult> {
    const result = await this.txn(
      {
        when: [asExpected(key, expected)],
        then: [op.put(key, value, { lease: options.lease })],
        otherwise: [op.get(key)],
      },
      options,
    );
    const { succeeded, revision } = result;
    return { succeeded, revision, current: succeeded ? null : result.pair() };
  }

  /** If every condition of `when` holds, `then` is done, else `otherwise`; all at one revision. */
  async txn(transaction: Transaction, { signal }: Abortable = {}): Promise<TxnResult> {
    const request = toRequest(transaction);
    return new TxnResult(await crossing(signal, (token) => this.#native.txn(token, request)));
  }

  /** Discards the history before `revision`. */
  async compact(revision: number, { signal }: Abortable = {}): Promise<void> {
    await crossing(signal, (token) => this.#native.compact(token, revision));
  }

  /** Watches `key`. Once this resolves no change is missed. */
  async watch(key: Bytes, { signal, ...settings }: WatchOptions = {}): Promise<Watch> {
    const name = toBuffer(key);
    const call = (token: Native.CancelToken) => this.#native.watch(token, name, settings);
    return new Watch(await crossing(signal, call, (late) => late.close()), signal);
  }

  /** A lease of whole seconds (servers raise less than 2 s), renewed unless told otherwise. */
  async lease(ttlMs: number, options: Abortable & { keepAlive?: boolean | undefined } = {}): Promise<Lease> {
    const { signal, keepAlive = true } = options;
    const seconds = Math.ceil(toMs(ttlMs, 'ttlMs') / 1000);
    return new Lease(await crossing(signal, (token) => this.#native.lease(token, seconds, keepAlive)));
  }

  /** A lock called `name`. */
  lock(name: Bytes, options: LockOptions = {}): Lock {
    return new Lock(this.#native, name, options);
  }

  /** Takes the lock `name` if it is free; `null` if it is not. */
  tryLock(name: Bytes, { signal, ...options }: LockOptions & Abortable = {}): Promise<HeldLock | null> {
    return this.lock(name, options).tryAcquire({ signal });
  }

  /** An election called `name`. */
  election(name: Bytes, options: ElectionOptions = {}): Election {
    return new Election(this.#native, name, options);
  }

  /** Several locks that are acquired together, in one transaction: no order of names deadlocks. */
  multiLock(names: Iterable<Bytes>, options: LockOptions = {}): MultiLock {
    return new MultiLock(this.#native, names, options);
  }

  /** A queue called `name`. */
  queue(name: Bytes, options: QueueOptions = {}): Queue {
    return openQueue(this.#native, name, options);
  }

  /** Work called `name` that is done once. */
  once(name: Bytes, options: OnceOptions = {}): Once {
    return new Once(this.#native, name, options);
  }

  /** A service called `name`. */
  service(name: string): Service {
    return new Service(this.#native, name);
  }

  /** Follows the instances of a service: short for `service(name).discover(options)`. */
  discover(name: string, options: Abortable & { guardMs?: number | undefined } = {}): Promise<Discovery> {
    return this.service(name).discover(options);
  }

  /**
   * Reads the configuration at `key`, and follows it.
   *
   * @throws {ConfigRefusedError} when what is published cannot be used, and there is no default.
   */
  async config<T = unknown>(key: Bytes, options: ConfigOptions<T> = {}): Promise<Config<T>> {
    const { signal, prefix, snapshotFile, patienceMs } = options;
    const name = toBuffer(key);
    const settings = { prefix, snapshotFile, patienceMs };
    const call = (token: Native.CancelToken) => this.#native.openConfig(token, name, settings);
    const config = await crossing(signal, call, (late) => late.close());
    try {
      return new Config(config, key, options);
    } catch (error) {
      config.close();
      throw error;
    }
  }

  /**
   * Publishes a configuration; the revision. Text and bytes are published as they are, everything
   * else as JSON. With `prefix` the value is an object, or a `Map`, of values by what follows the
   * key, all published as JSON at one revision; `null` deletes. With `since` it is refused when
   * somebody else published after that revision.
   *
   * @throws {PublishConflictError}
   */
  async publish(
    key: Bytes,
    value: unknown,
    options: PublishOptions & { prefix?: boolean | undefined; since?: number | undefined } = {},
  ): Promise<number> {
    const { signal, note = '', prefix = false, since } = options;
    const [name, entries] = [toBuffer(key), toEntries(value, prefix)];
    return crossing(signal, (token) => this.#native.publish(token, name, entries, note, since));
  }

  /** Who published what is in force at `key`, or was at `revision`, if that is known. */
  async publication(
    key: Bytes,
    { signal, revision = 0 }: Abortable & { revision?: number | undefined } = {},
  ): Promise<Publication | null> {
    const name = toBuffer(key);
    const raw = await crossing(signal, (token) => this.#native.publication(token, name, revision));
    return raw == null ? null : { by: raw.by, note: raw.note, time: new Date(raw.unixMs), revision: raw.revision };
  }

  /**
   * Reports that the program goes on, for the `beatMs` it was connected with.
   *
   * @throws {SessionLostError} when it comes too late: what was held is lost.
   */
  beat(): void {
    const failure = this.#native.beat();
    if (failure != null) throw toError(failure);
  }

  /** The session that everything this client holds is held on; opens it if need be. */
  get session(): Session {
    this.#session ??= new Session(unwrap(this.#native.session()));
    return this.#session;
  }

  /**
   * Gives up everything held, and refuses further calls. Whoever waits for a lock, an election, a
   * watch or an observer gets a {@link ClosedError}.
   */
  async close(): Promise<void> {
    unwrap(await this.#native.close());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function asExpected(key: Bytes, expected: Expected) {
  if (expected === null) return compare.missing(key);
  if (expected instanceof KeyValue) return compare.modRevision(key).eq(expected.modRevision);
  return compare.value(key).eq(expected);
}

/**
 * A client of the cluster at `endpoints` (default `127.0.0.1:2379`). An unreachable cluster shows
 * at the first call. Best with `await using`, which closes it at the end of the block.
 *
 * @throws {InvalidArgumentError} for an endpoint or an option that cannot be used.
 */
export async function connect(
  endpoints: string | readonly string[] = DEFAULT_ENDPOINT,
  options: ConnectOptions = {},
): Promise<Client> {
  const { namespace, ttlMs, timeoutMs, beatMs, appName } = options;
  const settings = {
    endpoints: typeof endpoints === 'string' ? [endpoints] : [...endpoints],
    namespace: namespace === undefined ? undefined : toBuffer(namespace, 'namespace'),
    ttlMs,
    timeoutMs,
    beatMs,
    appName: appName ?? programName(),
  };
  const client = unwrap(asked(() => native.openClient(settings)));
  opened(client);
  return new Client(client);
}

/** The script that runs, as others see it; without one, Node's own default. */
function programName(): string {
  return process.argv[1]?.split('/').at(-1) ?? 'node';
}
