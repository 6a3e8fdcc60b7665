// The values that calls return.

import type { Buffer } from 'node:buffer';

import type * as Native from './native.cjs';

/** A key with its value, and when it was written. */
export class KeyValue {
  readonly key: Buffer;
  readonly value: Buffer;
  /** The revision that created the key. */
  readonly createRevision: number;
  /** The revision of the last change. */
  readonly modRevision: number;
  /** How many changes the key has had since it was created, that included. */
  readonly version: number;
  /** The id of its lease, in the hexadecimal digits that `etcdctl` shows; `null` without one. */
  readonly lease: string | null;

  /** @internal */
  constructor(raw: Native.NativePair) {
    this.key = raw.key;
    this.value = raw.value;
    this.createRevision = raw.createRevision;
    this.modRevision = raw.modRevision;
    this.version = raw.version;
    this.lease = raw.lease ?? null;
  }

  /** The value as text. */
  get text(): string {
    return this.value.toString();
  }

  /** The key as text. */
  get keyText(): string {
    return this.key.toString();
  }

  /** The value, read as JSON. */
  json(): unknown {
    return JSON.parse(this.text);
  }
}

/** @internal */
export function optionalPair(raw: Native.NativePair | null | undefined): KeyValue | null {
  return raw == null ? null : new KeyValue(raw);
}

/** The answer to a read of several keys; iterating gives the pairs. */
export class RangeResult implements Iterable<KeyValue> {
  readonly pairs: readonly KeyValue[];
  /** How many keys there are, whatever the limit. */
  readonly count: number;
  /** Whether the limit cut pairs off. */
  readonly more: boolean;
  /** The store's revision when it was read. */
  readonly revision: number;

  /** @internal */
  constructor(raw: Native.NativeRange) {
    this.pairs = raw.pairs.map((pair) => new KeyValue(pair));
    this.count = raw.count;
    this.more = raw.more;
    this.revision = raw.revision;
  }

  [Symbol.iterator](): Iterator<KeyValue> {
    return this.pairs[Symbol.iterator]();
  }
}

/** The answer to a put. */
export interface PutResult {
  /** The revision of the put. */
  readonly revision: number;
  /** The pair as it was before, if that was asked for and there was one. */
  readonly previous: KeyValue | null;
}

/** The answer to a delete. */
export interface DeleteResult {
  /** How many keys were deleted. */
  readonly deleted: number;
  readonly revision: number;
  /** The pairs as they were before, if that was asked for. */
  readonly previous: readonly KeyValue[];
}

/** The answer to a compare-and-set. */
export interface CasResult {
  /** Whether the key was as expected, so that the value was written. */
  readonly succeeded: boolean;
  readonly revision: number;
  /** What was found instead, if it failed. */
  readonly current: KeyValue | null;
}

/** The answer to a transaction. */
export class TxnResult {
  /** Whether all conditions held, so that `then` was done, and not `otherwise`. */
  readonly succeeded: boolean;
  readonly revision: number;
  /** The answers to the operations that were done, in order. */
  readonly results: readonly (RangeResult | PutResult | DeleteResult)[];

  /** @internal */
  constructor(raw: Native.NativeTxn) {
    this.succeeded = raw.succeeded;
    this.revision = raw.revision;
    this.results = raw.results.map((answer) => {
      if ('pairs' in answer) return new RangeResult(answer);
      if ('deleted' in answer) return deleteResult(answer);
      return putResult(answer);
    });
  }

  /** The answer to the read that is operation `index`. */
  range(index = 0): RangeResult {
    const answer = this.results[index];
    if (!(answer instanceof RangeResult)) throw new TypeError(`operation ${index} is no read`);
    return answer;
  }

  /** The first pair of that read, if there is one. */
  pair(index = 0): KeyValue | null {
    return this.range(index).pairs[0] ?? null;
  }
}

/** @internal */
export function putResult(raw: Native.NativePut): PutResult {
  return { revision: raw.putRevision, previous: optionalPair(raw.previous) };
}

/** @internal */
export function deleteResult(raw: Native.NativeDelete): DeleteResult {
  const previous = raw.previous.map((pair) => new KeyValue(pair));
  return { deleted: raw.deleted, revision: raw.revision, previous };
}

/** A change of one key. */
export interface KeyEvent {
  readonly kind: 'put' | 'delete';
  /** The pair after the change; of a delete only key and `modRevision` mean something. */
  readonly pair: KeyValue;
  /** The pair before the change, if that was asked for and there was one. */
  readonly previous: KeyValue | null;
  /** Whether the key was not there before. */
  readonly isCreate: boolean;
}

/** @internal */
export function keyEvent(raw: Native.NativeEvent): KeyEvent {
  const pair = new KeyValue(raw.pair);
  return {
    kind: raw.isPut ? 'put' : 'delete',
    pair,
    previous: optionalPair(raw.previous),
    isCreate: raw.isPut && pair.createRevision === pair.modRevision,
  };
}

/** Somebody who holds a name or waits for it. */
export class Member {
  readonly key: Buffer;
  /** What a candidate proposes. */
  readonly value: Buffer;
  /** The fencing token once it holds. */
  readonly token: number;
  /** The lease of its session. */
  readonly lease: string;
  /** The place in line; 1 holds. */
  readonly position: number;
  /** Whether its key is on no lease, so that it does not go away by itself. */
  readonly immortal: boolean;
  /** The program's name, host, process and start; `null` for programs of other kinds. */
  readonly app: string | null;
  readonly host: string | null;
  readonly pid: number | null;
  readonly since: Date | null;

  /** @internal */
  constructor(raw: Native.NativeMember) {
    this.key = raw.key;
    this.value = raw.value;
    this.token = raw.token;
    this.lease = raw.lease;
    this.position = raw.position;
    this.immortal = raw.immortal;
    this.app = raw.app ?? null;
    this.host = raw.host ?? null;
    this.pid = raw.pid ?? null;
    this.since = raw.sinceUnixMs == null ? null : new Date(raw.sinceUnixMs);
  }

  toString(): string {
    const session = `session ${this.lease}`;
    return this.app === null ? session : `${this.app} (pid ${this.pid} on ${this.host}, ${session})`;
  }
}

/** The own place in a line, while waiting. */
export interface Waiting {
  /** What is waited for: of several locks, the one that is. */
  readonly name: string;
  /** The place in line; 1 would hold. */
  readonly position: number;
  /** Who holds, without what its session says of it. */
  readonly holder: Member | null;
}

/** @internal */
export function toWaits(
  tell: ((waiting: Waiting) => void) | undefined,
): ((raw: Native.NativeWaiting) => void) | undefined {
  if (tell === undefined) return undefined;
  return ({ name, position, holder }) =>
    tell({ name: name.toString(), position, holder: holder == null ? null : new Member(holder) });
}

/** Everybody at a name, as of a revision: the first holds, the others wait, in order. */
export class Line {
  readonly members: readonly Member[];
  readonly revision: number;

  /** @internal */
  constructor(raw: Native.NativeLine) {
    this.members = raw.members.map((member) => new Member(member));
    this.revision = raw.revision;
  }

  get holder(): Member | null {
    return this.members[0] ?? null;
  }

  get waiters(): readonly Member[] {
    return this.members.slice(1);
  }
}

/** Who leads. */
export class Leader {
  readonly key: Buffer;
  /** What the leader announces. */
  readonly value: Buffer;
  /** The term: grows with every leader. */
  readonly token: number;
  readonly lease: string;
  readonly revision: number;

  /** @internal */
  constructor(raw: Native.NativeLeader) {
    this.key = raw.key;
    this.value = raw.value;
    this.token = raw.token;
    this.lease = raw.lease;
    this.revision = raw.revision;
  }

  /** What the leader announces, as text. */
  get text(): string {
    return this.value.toString();
  }
}
