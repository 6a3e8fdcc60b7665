// Configurations: published at once, followed by many, and never replaced by a bad one.

import { toBuffer, type Bytes } from './bytes.js';
import { crossing } from './crossing.js';
import { ConfigRefusedError, unwrap } from './errors.js';
import type { Abortable } from './lock.js';
import type * as Native from './native.cjs';
import { Stream } from './streams.js';

/** The published values by name; of a single key the name is the empty text. */
export type ConfigEntries = ReadonlyMap<string, Buffer>;

/** How a configuration is read. */
export interface ConfigOptions<T> extends Abortable {
  /**
   * Makes the value of what is published (default: JSON of a single key). What it throws refuses
   * the publication, and the value before stays in force.
   */
  decode?: ((entries: ConfigEntries) => T) | undefined;
  /** All keys that start with the key, as one value. */
  prefix?: boolean | undefined;
  /** What is in force while nothing is published that can be used. */
  default?: T | undefined;
  /** Keeps what was published last in this file, and starts with it when no server answers. */
  snapshotFile?: string | undefined;
  /** How long to wait for a server before starting with the snapshot (default 1 s). */
  patienceMs?: number | undefined;
}

/** A value that is in force. */
export interface ConfigValue<T> {
  readonly value: T;
  /** The revision it was published at; 0 for the default. */
  readonly revision: number;
  readonly source: 'server' | 'snapshot' | 'default';
}

/** Why what is published is not in force. */
export interface ConfigProblem {
  readonly revision: number;
  readonly error: unknown;
}

/** A configuration that is followed; made by {@link Client.config}. */
export class Config<T> implements AsyncDisposable {
  readonly #native: Native.NativeConfig;
  readonly #key: Bytes;
  readonly #decode: (entries: ConfigEntries) => T;
  #current: ConfigValue<T> | undefined;
  #seen = -1;
  #problem: ConfigProblem | null = null;

  /** @internal */
  constructor(config: Native.NativeConfig, key: Bytes, options: ConfigOptions<T>) {
    this.#native = config;
    this.#key = key;
    this.#decode = options.decode ?? ((entries) => fromJson(entries) as T);
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

  /** For how long no server has been heard of, in milliseconds. */
  get staleForMs(): number {
    return unwrap(this.#native.staleForMs());
  }

  /** The value in force, and then each that comes into force. */
  changes({ signal }: Abortable = {}): Stream<ConfigValue<T>> {
    const feed = unwrap(this.#native.changes());
    let told: ConfigValue<T> | undefined;
    const take = async (): Promise<ConfigValue<T>[] | null> => {
      const event = await crossing(signal, (token) => feed.next(token));
      if (event == null) return null;
      const current = this.#read();
      if (current === undefined || current.revision === told?.revision) return [];
      told = current;
      return [current];
    };
    return new Stream(take, () => feed.close());
  }

  [Symbol.asyncIterator](): Stream<ConfigValue<T>> {
    return this.changes();
  }

  /**
   * Publishes values by name, or deletes with `null`, all at one revision, which it gives. Of a
   * single key the name is the empty text.
   *
   * @throws {PublishConflictError} when somebody else published since what is in force here.
   */
  async publish(
    entries: Readonly<Record<string, Bytes | null>>,
    { signal, note = '' }: Abortable & { note?: string | undefined } = {},
  ): Promise<number> {
    const raw = toEntries(entries);
    return crossing(signal, (token) => this.#native.publish(token, raw, note));
  }

  /** Follows no more. */
  close(): void {
    this.#native.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  /** Looks at what is published, and makes a value of it once. */
  #read(): ConfigValue<T> | undefined {
    const set = unwrap(this.#native.current());
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
    try {
      const value = this.#decode(new Map(entries.map(({ name, value }) => [String(name), value as Buffer])));
      this.#current = { value, revision, source };
      this.#problem = null;
    } catch (error) {
      this.#problem = { revision, error };
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

function fromJson(entries: ConfigEntries): unknown {
  const single = entries.get('');
  if (single === undefined) throw new TypeError('nothing is published');
  return JSON.parse(single.toString());
}

/** @internal */
export function toEntries(entries: Readonly<Record<string, Bytes | null>>): Native.NativeEntry[] {
  return Object.entries(entries).map(([name, value]) => ({
    name: Buffer.from(name),
    value: value === null ? undefined : toBuffer(value, 'value'),
  }));
}
