// Configurations: published at once, followed by many, and never replaced by a bad one.

import process from 'node:process';

import { toBuffer, type Bytes } from './bytes.js';
import { crossing, type Abortable } from './crossing.js';
import { ConfigRefusedError, unwrap } from './errors.js';
import type * as Native from './native.cjs';
import { Stream, Streams, stream } from './streams.js';

/** The published values by name; of a single key the name is the empty text. */
export type ConfigEntries = ReadonlyMap<string, Buffer>;

/** How a configuration is read. */
export interface ConfigOptions<T> extends Abortable {
  /**
   * Makes the value of what is published (default: what JSON says; with `prefix`, an object with a
   * field for each name). What it throws refuses the publication, and the value before stays in
   * force. Not async.
   */
  decode?: ((entries: ConfigEntries) => T) | undefined;
  /** Refuses a value, as `decode` does, by throwing or by returning `false`. Not async. */
  validate?: ((value: T) => unknown) | undefined;
  /** All keys that start with the key, as one value. */
  prefix?: boolean | undefined;
  /** What is in force while nothing is published that can be used. */
  default?: T | undefined;
  /** Keeps what was published last in this file, and starts with it when no server answers. */
  snapshotFile?: string | undefined;
  /** How long to wait for a server before starting with the snapshot (default 1 s). */
  patienceMs?: number | undefined;
}

/** How a configuration is published. */
export interface PublishOptions extends Abortable {
  /** Why, for whoever looks later. */
  note?: string | undefined;
}

/** A value that is in force. */
export interface ConfigValue<T> {
  readonly value: T;
  /** The revision it was published at; 0 for the default. */
  readonly revision: number;
  readonly source: 'server' | 'snapshot' | 'default';
}

/** Why what is published is not in force, or what is wrong with the snapshot. */
export interface ConfigProblem {
  readonly kind: 'undecodable' | 'invalid' | 'snapshot_ignored' | 'snapshot_not_written' | (string & {});
  /** The revision it was published at; 0 if none is known. */
  readonly revision: number;
  /** What `decode` or `validate` threw; of a snapshot a text. */
  readonly error: unknown;
}

/**
 * What happened to a configuration. `applied`: a value is in force, and those `names` changed.
 * `reset`: the server's data was replaced, and goes on from that revision. `disconnected` and
 * `connected`: whether a server is heard.
 */
export type ConfigEvent<T> =
  | { readonly kind: 'applied'; readonly current: ConfigValue<T>; readonly names: readonly string[] }
  | { readonly kind: 'problem'; readonly problem: ConfigProblem }
  | { readonly kind: 'reset'; readonly revision: number }
  | { readonly kind: 'disconnected' }
  | { readonly kind: 'connected' };

/** Who published something, why, when by the publisher's clock, and at which revision. */
export interface Publication {
  readonly by: string;
  readonly note: string;
  readonly time: Date;
  readonly revision: number;
}

/** How many problems are remembered. */
const PROBLEMS = 32;

/** A configuration that is followed; made by {@link Client.config}. */
export class Config<T> implements AsyncDisposable {
  readonly #native: Native.NativeConfig;
  readonly #key: Bytes;
  readonly #prefix: boolean;
  readonly #decode: (entries: ConfigEntries) => T;
  readonly #validate: (value: T) => unknown;
  readonly #streams = new Streams();
  readonly #problems: ConfigProblem[] = [];
  #current: ConfigValue<T> | undefined;
  #seen = -1;
  #problem: ConfigProblem | null = null;

  /** @internal */
  constructor(config: Native.NativeConfig, key: Bytes, options: ConfigOptions<T>) {
    this.#native = config;
    this.#key = key;
    this.#prefix = options.prefix === true;
    this.#decode = options.decode ?? ((entries) => fromJson(entries, this.#prefix) as T);
    this.#validate = options.validate ?? (() => true);
    if ('default' in options && options.default !== undefined) {
      this.#current = { value: options.default, revision: 0, source: 'default' };
    }
    if (this.#read() === undefined) throw this.#refusal();
  }

  /** The value in force. No input or output. */
  get(): T {
    return this.current().value;
  }

  /** The value in force, with its revision and where it is from. */
  current(): ConfigValue<T> {
    const current = this.#read();
    if (current === undefined) throw this.#refusal();
    return current;
  }

  /** Why what is published is not in force; `null` if it is. */
  get problem(): ConfigProblem | null {
    this.#read();
    return this.#problem;
  }

  /** The latest problems, by revision, also those that are over. */
  get problems(): readonly ConfigProblem[] {
    this.#read();
    const known = [...unwrap(this.#native.problems()).map(toProblem), ...this.#problems];
    return known.sort((one, other) => one.revision - other.revision);
  }

  /** For how long no server has been heard of, in milliseconds. */
  get staleForMs(): number {
    return unwrap(this.#native.staleForMs());
  }

  /** The value in force, and then each that comes into force. */
  changes({ signal }: Abortable = {}): Stream<ConfigValue<T>> {
    const feed = unwrap(this.#native.changes());
    let told: ConfigValue<T> | undefined;
    return this.#streams.add(
      stream(feed, signal, () => {
        const current = this.#readIfOpen();
        if (current === undefined || current.revision === told?.revision) return [];
        told = current;
        return [current];
      }),
    );
  }

  /** Everything that happens, beginning with the value in force. */
  events({ signal }: Abortable = {}): Stream<ConfigEvent<T>> {
    const feed = unwrap(this.#native.changes());
    let [applied, refused] = [-1, -1];
    return this.#streams.add(
      stream(feed, signal, (raw): ConfigEvent<T>[] => {
        if (raw.kind !== 'applied') return otherEvent(raw);
        const current = this.#readIfOpen();
        if (current === undefined) return [];
        if (this.#problem !== null) {
          if (this.#problem.revision === refused) return [];
          refused = this.#problem.revision;
          return [{ kind: 'problem', problem: this.#problem }];
        }
        if (current.revision === applied) return [];
        applied = current.revision;
        return [{ kind: 'applied', current, names: raw.names.map(String) }];
      }),
    );
  }

  [Symbol.asyncIterator](): Stream<ConfigValue<T>> {
    return this.changes();
  }

  /**
   * Calls `callback` with each later value, one after the other, and gives what ends that. It does
   * not keep the process open. What `callback` throws, or what its promise rejects with, becomes a
   * warning of the process, and the next value comes anyway.
   */
  onChange(callback: (value: T, current: ConfigValue<T>) => unknown): () => void {
    let told = this.#read();
    let before: Promise<unknown> = Promise.resolve();
    let stopped = false;
    const call = async (current: ConfigValue<T>): Promise<void> => {
      try {
        if (!stopped) await callback(current.value, current);
      } catch (error) {
        const name = `config ${String(this.#key)} at revision ${current.revision}`;
        process.emitWarning(`handfast's onChange of ${name} failed: ${String(error)}`);
      }
    };
    const listening = unwrap(
      this.#native.onEvent(({ kind }) => {
        if (stopped || kind !== 'applied') return;
        const current = this.#readIfOpen();
        if (current === undefined || current.revision === told?.revision) return;
        told = current;
        before = before.then(() => call(current));
      }),
    );
    return () => {
      stopped = true;
      listening.stop();
    };
  }

  /** Waits until everything published up to `revision` is in force or refused. */
  async atLeast(revision: number, { signal }: Abortable = {}): Promise<void> {
    await crossing(signal, (token) => this.#native.atLeast(token, revision));
  }

  /** Waits until the file of the snapshot holds what is published now, as far as is known here. */
  async saved({ signal }: Abortable = {}): Promise<void> {
    await crossing(signal, (token) => this.#native.saved(token));
  }

  /**
   * Publishes on top of what is in force here, as {@link Client.publish} does; the revision.
   *
   * @throws {PublishConflictError} when somebody else published since.
   */
  async publish(value: unknown, { signal, note = '' }: PublishOptions = {}): Promise<number> {
    const entries = toEntries(value, this.#prefix);
    return crossing(signal, (token) => this.#native.publish(token, entries, note));
  }

  /** Follows no more, and ends all iterations and callbacks. */
  close(): void {
    this.#streams.close();
    this.#native.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  /** Looks at what is published, and makes a value of it once. */
  #read(): ConfigValue<T> | undefined {
    return this.#taken(unwrap(this.#native.current()));
  }

  /** As #read, of what may be closed by the time that a change of it arrives. */
  #readIfOpen(): ConfigValue<T> | undefined {
    const set = this.#native.current();
    return 'revision' in set ? this.#taken(set) : undefined;
  }

  #taken(set: Native.NativeSet): ConfigValue<T> | undefined {
    const { entries, revision } = set;
    const source = set.source as ConfigValue<T>['source'];
    if (revision === this.#seen) {
      // What began as a snapshot is the server's word once a server has confirmed it.
      const current = this.#current;
      if (current?.revision === revision && current.source !== source) this.#current = { ...current, source };
      return this.#current;
    }
    this.#seen = revision;
    if (entries.length === 0 && this.#current?.source === 'default') return this.#current;
    const named = entries.map(({ name, value }) => [String(name), value as Buffer] as const);
    let kind: ConfigProblem['kind'] = 'undecodable';
    try {
      const value = atOnce('decode', this.#decode(new Map(named)));
      kind = 'invalid';
      if (atOnce('validate', this.#validate(value)) === false) throw new RangeError('validate returned false');
      this.#current = { value, revision, source };
      this.#problem = null;
    } catch (error) {
      this.#problem = { kind, revision, error };
      this.#problems.splice(0, this.#problems.length + 1 - PROBLEMS);
      this.#problems.push(this.#problem);
    }
    return this.#current;
  }

  #refusal(): ConfigRefusedError {
    const { revision, error } = this.#problem ?? { revision: 0, error: 'nothing is published' };
    const message = `config ${String(this.#key)} at revision ${revision} cannot be used: ${String(error)}`;
    return new ConfigRefusedError(message, {
      code: 'CONFIG_REFUSED',
      details: { name: String(this.#key), revision },
    });
  }
}

/** A promise would pass every check, and reject where nobody looks. */
function atOnce<V>(what: string, given: V): V {
  if (!(given instanceof Promise)) return given;
  given.catch(() => undefined);
  throw new TypeError(`${what} must not be async`);
}

function otherEvent<T>(raw: Native.NativeConfigEvent): ConfigEvent<T>[] {
  switch (raw.kind) {
    case 'problem':
      return raw.problem == null ? [] : [{ kind: 'problem', problem: toProblem(raw.problem) }];
    case 'reset':
      return [{ kind: 'reset', revision: raw.revision ?? 0 }];
    case 'disconnected':
    case 'connected':
      return [{ kind: raw.kind }];
    default:
      return [];
  }
}

function toProblem({ kind, revision, text }: Native.NativeProblem): ConfigProblem {
  return { kind, revision, error: text };
}

function fromJson(entries: ConfigEntries, prefix: boolean): unknown {
  if (entries.size === 0) throw new TypeError('nothing is published');
  if (!prefix) return JSON.parse(String(entries.get('')));
  return Object.fromEntries(Array.from(entries, ([name, value]) => [name, JSON.parse(value.toString())]));
}

/** What to publish: one value, or with `prefix` values by name. @internal */
export function toEntries(given: unknown, prefix: boolean): Native.NativeEntry[] {
  // Text for a single key may be of any format.
  const single = typeof given === 'string' ? Buffer.from(given) : given;
  if (!prefix) return [{ name: Buffer.alloc(0), value: toJson(single) }];
  if (typeof given !== 'object' || given === null || Array.isArray(given) || given instanceof Uint8Array) {
    throw new TypeError('with a prefix, an object of names and values is published');
  }
  const named: [string, unknown][] = given instanceof Map ? [...given] : Object.entries(given);
  return named
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ({ name: Buffer.from(name), value: value === null ? undefined : toJson(value) }));
}

function toJson(value: unknown): Buffer {
  if (value instanceof Uint8Array) return toBuffer(value);
  const text: string | undefined = JSON.stringify(value);
  if (text === undefined) throw new TypeError(`a ${typeof value} cannot be published`);
  return Buffer.from(text);
}
