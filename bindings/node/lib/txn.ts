// Conditions and operations of transactions.

import { toBuffer, type Bytes } from './bytes.js';
import type * as Native from './native.cjs';

/** A condition, evaluated on the state before the transaction; made by {@link compare}. */
export class Compare {
  /** @internal */
  readonly raw: Native.NativeCompare;

  /** @internal */
  constructor(raw: Native.NativeCompare) {
    this.raw = raw;
  }
}

/** What a condition looks at. */
export class CompareTarget<T extends number | Bytes> {
  readonly #target: string;
  readonly #key: Bytes;
  readonly #prefix: boolean;

  /** @internal */
  constructor(target: string, key: Bytes, prefix: boolean) {
    this.#target = target;
    this.#key = key;
    this.#prefix = prefix;
  }

  /** True if it is equal to `to`. */
  eq(to: T): Compare {
    return this.#with('==', to);
  }

  /** True if it differs from `to`. */
  ne(to: T): Compare {
    return this.#with('!=', to);
  }

  /** True if it is greater than `to`. */
  gt(to: T): Compare {
    return this.#with('>', to);
  }

  /** True if it is less than `to`. */
  lt(to: T): Compare {
    return this.#with('<', to);
  }

  #with(operator: string, to: T): Compare {
    const operand = typeof to === 'number' ? to : toBuffer(to, 'value');
    return new Compare({
      target: this.#target,
      key: toBuffer(this.#key),
      operator,
      operand,
      prefix: this.#prefix,
    });
  }
}

/** With `prefix`: all keys that start with the key, and every one must satisfy the condition. */
export interface CompareOptions {
  prefix?: boolean | undefined;
}

function target<T extends number | Bytes>(name: string) {
  return (key: Bytes, { prefix = false }: CompareOptions = {}): CompareTarget<T> =>
    new CompareTarget<T>(name, key, prefix);
}

/**
 * Conditions of transactions, as in `compare.version('k').gt(3)`. A missing key has version and
 * revisions 0, and fails every compare of its value.
 */
export const compare = {
  /** The revision that created the key. */
  createRevision: target<number>('create_revision'),
  /** The revision of the last change. */
  modRevision: target<number>('mod_revision'),
  /** How many changes the key has had since it was created. */
  version: target<number>('version'),
  /** The value, byte by byte. */
  value: target<Bytes>('value'),
  /** The id of the lease, as text; the empty text stands for no lease. */
  lease: target<string>('lease'),
  /** True if the key is there. */
  exists: (key: Bytes): Compare => compare.createRevision(key).gt(0),
  /** True if the key is not there. */
  missing: (key: Bytes): Compare => compare.createRevision(key).eq(0),
} as const;

/** An operation of a transaction; made by {@link op}. */
export class Op {
  /** @internal */
  readonly raw: Native.NativeOp;

  /** @internal */
  constructor(raw: Native.NativeOp) {
    this.raw = raw;
  }
}

/** Operations of transactions, as in `op.put('k', 'v')`. */
export const op = {
  /** Reads the key, or with `prefix` all keys that start with it. */
  get: (key: Bytes, options: { prefix?: boolean | undefined; limit?: number | undefined } = {}): Op =>
    new Op({ kind: 'get', key: toBuffer(key), ...options }),
  /** Writes the key; with a `lease` it goes away when the lease ends. */
  put: (
    key: Bytes,
    value: Bytes,
    options: { lease?: { readonly id: string } | string | undefined; previous?: boolean | undefined } = {},
  ): Op =>
    new Op({
      kind: 'put',
      key: toBuffer(key),
      value: toBuffer(value, 'value'),
      lease: leaseId(options.lease),
      previous: options.previous,
    }),
  /** Deletes the key, or with `prefix` all keys that start with it. */
  delete: (key: Bytes, options: { prefix?: boolean | undefined; previous?: boolean | undefined } = {}): Op =>
    new Op({ kind: 'delete', key: toBuffer(key), ...options }),
} as const;

/** If every condition of `when` holds, `then` is done, else `otherwise`; all at one revision. */
export interface Transaction {
  when?: readonly Compare[] | undefined;
  then?: readonly Op[] | undefined;
  otherwise?: readonly Op[] | undefined;
}

/** @internal */
export function toRequest({ when = [], then = [], otherwise = [] }: Transaction): Native.NativeRequest {
  return {
    when: when.map(({ raw }) => raw),
    then: then.map(({ raw }) => raw),
    otherwise: otherwise.map(({ raw }) => raw),
  };
}

/** @internal */
export function leaseId(lease: { readonly id: string } | string | undefined): string {
  if (lease === undefined) return '';
  return typeof lease === 'string' ? lease : lease.id;
}
