// What can go wrong. Every error has a stable `code`; its message is for people.

import type * as Native from './native.cjs';
import { Member } from './types.js';

/** The codes of this version; a newer server may bring others. */
export type ErrorCode =
  | 'UNAVAILABLE'
  | 'TIMEOUT'
  | 'LOCK_LOST'
  | 'SESSION_LOST'
  | 'KIND_CONFLICT'
  | 'CLOSED'
  | 'INVALID_ARGUMENT'
  | 'COMPACTED'
  | 'ACK_LOST'
  | 'DRAINING'
  | 'DUPLICATE_INSTANCE'
  | 'NO_INSTANCE'
  | 'CONFLICT'
  | 'CONFIG_REFUSED'
  | 'INTERNAL'
  | (string & {});

/** What a message speaks of, for programs. Time spans end in `Ms`. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | Member>>;

const BRAND = Symbol.for('handfast.error');

/** The base of all errors of this package. */
export class HandfastError extends Error {
  override name = 'HandfastError';
  /** Stable, and the same in every language. */
  readonly code: ErrorCode;
  /** Whether the same call may succeed later without a change. */
  readonly retryable: boolean;
  readonly details: ErrorDetails;
  constructor(message: string, info: { code?: ErrorCode; retryable?: boolean; details?: ErrorDetails } = {}) {
    super(message);
    this.code = info.code ?? 'INTERNAL';
    this.retryable = info.retryable ?? false;
    this.details = info.details ?? {};
  }

  /** @internal */
  get [BRAND](): true {
    return true;
  }

  /** Whether `error` is one of ours, also when it comes from another copy of this package. */
  static is(error: unknown): error is HandfastError {
    return typeof error === 'object' && error !== null && BRAND in error;
  }
}

/** No server could be reached, or none may answer just now. */
export class UnavailableError extends HandfastError {
  override name = 'UnavailableError';

  /** The endpoint that failed last. */
  get endpoint(): string | undefined {
    return this.details.endpoint as string | undefined;
  }
}

/** The time given to the call ran out. A write may still have been applied. */
export class TimeoutError extends HandfastError {
  override name = 'TimeoutError';
}

/** The lock or leadership was not free in time; nothing is left in line. */
export class LockTimeoutError extends TimeoutError {
  override name = 'LockTimeoutError';

  /** Who holds it, if that was to be learned in time. */
  get holder(): Member | undefined {
    return this.details.holder as Member | undefined;
  }

  /** The place in line when given up; 1 is the holder's. */
  get position(): number | undefined {
    return this.details.position as number | undefined;
  }
}

/** The lock is not held any more, and somebody else may hold it. */
export class LockLostError extends HandfastError {
  override name = 'LockLostError';

  /** Why, in a stable word: `expired`, `revoked`, `broken`, `deleted`, `max_hold`, … */
  get reason(): string {
    return String(this.details.reason ?? '');
  }
}

/** The leadership is lost, and somebody else may lead. */
export class LeadershipLostError extends LockLostError {
  override name = 'LeadershipLostError';
}

/** The session ended while waiting for a lock or leadership; try again. */
export class SessionLostError extends LockLostError {
  override name = 'SessionLostError';
}

/** The name is used for another kind of thing by another program. */
export class KindConflictError extends HandfastError {
  override name = 'KindConflictError';
}

/** The client, or what it handed out, was closed. */
export class ClosedError extends HandfastError {
  override name = 'ClosedError';
}

/** An argument cannot be used; the message says what is wrong with it. */
export class InvalidArgumentError extends HandfastError {
  override name = 'InvalidArgumentError';
}

/** The history asked for is gone. */
export class CompactedError extends HandfastError {
  override name = 'CompactedError';

  /** The oldest revision that is left; 0 if the server did not say. */
  get compactRevision(): number {
    return Number(this.details.compactRevision ?? 0);
  }
}

/** The item of a queue is not this worker's any more: nothing was acknowledged or written. */
export class AckLostError extends HandfastError {
  override name = 'AckLostError';
}

/** The queue is drained: nothing can be pushed. */
export class DrainingError extends HandfastError {
  override name = 'DrainingError';
}

/** Somebody else is registered under this id. */
export class DuplicateInstanceError extends HandfastError {
  override name = 'DuplicateInstanceError';

  /** Who. */
  get holder(): Member | undefined {
    return this.details.holder as Member | undefined;
  }
}

/** There is no instance that could be called. */
export class NoInstanceError extends HandfastError {
  override name = 'NoInstanceError';
}

/** Somebody else published since; nothing was published. */
export class PublishConflictError extends HandfastError {
  override name = 'PublishConflictError';
}

/** What is published cannot be used, and there is no value from before. */
export class ConfigRefusedError extends HandfastError {
  override name = 'ConfigRefusedError';
}

type ErrorClass = new (...of: ConstructorParameters<typeof HandfastError>) => HandfastError;

const BY_CODE: Readonly<Record<string, ErrorClass>> = {
  UNAVAILABLE: UnavailableError,
  TIMEOUT: TimeoutError,
  LOCK_LOST: LockLostError,
  SESSION_LOST: SessionLostError,
  KIND_CONFLICT: KindConflictError,
  CLOSED: ClosedError,
  INVALID_ARGUMENT: InvalidArgumentError,
  COMPACTED: CompactedError,
  ACK_LOST: AckLostError,
  DRAINING: DrainingError,
  DUPLICATE_INSTANCE: DuplicateInstanceError,
  NO_INSTANCE: NoInstanceError,
  CONFLICT: PublishConflictError,
  CONFIG_REFUSED: ConfigRefusedError,
};

/** @internal */
export function isFailure(value: unknown): value is Native.NativeError {
  return typeof value === 'object' && value !== null && 'isHandfastFailure' in value;
}

/** The error for a failure of the native module; an unknown code gives the base class. @internal */
export function toError(failure: Native.NativeError): HandfastError {
  const details: Record<string, string | number | boolean | Member> = {};
  for (const { name, value } of failure.details) {
    details[detailName(name)] = typeof value === 'object' ? new Member(value) : value;
  }
  let kind = BY_CODE[failure.code] ?? HandfastError;
  if (kind === TimeoutError && 'recipe' in details) kind = LockTimeoutError;
  if (kind === LockLostError && details.recipe === 'election') kind = LeadershipLostError;
  const { code, retryable } = failure;
  const error = new kind(failure.message, { code, retryable, details });
  // Who asked stands first.
  Error.captureStackTrace(error, unwrap);
  return error;
}

/** An argument of another type than it must be, which napi says in its own way. @internal */
export function asArgument(error: unknown): unknown {
  const code = (error as { code?: unknown } | null)?.code;
  const isArgument = typeof code === 'string' && /Expected$|^InvalidArg$/.test(code);
  if (!isArgument || HandfastError.is(error)) return error;
  const { message } = error as Error;
  const [, given = 'what was given', wanted, argument] = OF_NAPI.exec(message) ?? [];
  if (wanted === undefined || argument === undefined) return invalid(message);
  const expected = argument.endsWith('Ms') ? MILLISECONDS : (TYPES[wanted] ?? wanted);
  return invalid(`${argument} is ${expected}, not ${given.toLowerCase()}`, argument);
}

const OF_NAPI = /napi value (?:(\w+) )?into rust type `(.+)` on \w+\.(\w+)$/;
const MILLISECONDS = 'a number of milliseconds';
const TYPES: Readonly<Record<string, string>> = {
  bool: 'true or false',
  f64: 'a number',
  i64: 'a number',
  u32: 'a number',
  String: 'a string',
};

/** What was given cannot be used. @internal */
export function invalid(message: string, argument?: string): InvalidArgumentError {
  const details = argument === undefined ? {} : { argument };
  return new InvalidArgumentError(message, { code: 'INVALID_ARGUMENT', details });
}

/** A time that is looked at here, as the native module looks at those among its options. @internal */
export function toMs<T extends number | undefined>(given: T, argument: string): T {
  if (given === undefined) return given;
  const type: string = given === null ? 'null' : typeof given;
  if (type !== 'number') throw invalid(`${argument} is ${MILLISECONDS}, not ${type}`, argument);
  if (given >= 0 && given < Infinity) return given;
  throw invalid(`${argument}: ${given} is not ${MILLISECONDS} from 0 on`, argument);
}

function detailName(name: string): string {
  if (name === 'after' || name === 'stale_for') name += '_ms';
  return name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** The value, or the failure thrown, so that the stack shows who asked. @internal */
export function unwrap<T>(value: T | Native.NativeError): T {
  if (isFailure(value)) throw toError(value);
  return value;
}
