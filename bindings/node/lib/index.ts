/**
 * Locks, elections, queues, services, configuration and keys that several machines share, over a handfast or etcd server.
 *
 * ```ts
 * import { connect } from 'handfast';
 *
 * await using hf = await connect('127.0.0.1:2379');
 * await hf.lock('jobs/nightly', { timeoutMs: 30_000 }).use(async (lock) => {
 *   await copy({ signal: lock.signal, token: lock.token });
 * });
 * ```
 *
 * @packageDocumentation
 */

export type { Bytes } from './bytes.js';
export {
  Client,
  connect,
  type ConnectOptions,
  type Expected,
  type RangeOptions,
  type WatchOptions,
} from './client.js';
export {
  Config,
  type ConfigEntries,
  type ConfigEvent,
  type ConfigOptions,
  type ConfigProblem,
  type ConfigValue,
  type Publication,
  type PublishOptions,
} from './config.js';
export type { Abortable } from './crossing.js';
export { Election, type ElectionOptions } from './election.js';
export {
  AckLostError,
  ClosedError,
  CompactedError,
  ConfigRefusedError,
  DrainingError,
  DuplicateInstanceError,
  HandfastError,
  InvalidArgumentError,
  KindConflictError,
  LeadershipLostError,
  LockLostError,
  LockTimeoutError,
  NoInstanceError,
  PublishConflictError,
  SessionLostError,
  TimeoutError,
  UnavailableError,
  type ErrorCode,
  type ErrorDetails,
} from './errors.js';
export { Held, HeldLock, Leadership } from './held.js';
export { Lease, type LeaseInfo } from './lease.js';
export { Lock, type LockOptions } from './lock.js';
export { setLogSink, type LogLevel, type LogRecord } from './logs.js';
export { HeldLocks, MultiLock } from './multi.js';
export { Once, OnceResult, type OnceOptions } from './once.js';
export {
  Claim,
  Queue,
  type AckedAndNext,
  type Condition,
  type DeadLetter,
  type PushOptions,
  type Pushed,
  type QueueItem,
  type QueueOptions,
  type QueueStatus,
  type Why,
  type WorkerOptions,
} from './queue.js';
export { Server, type ServerOptions } from './server.js';
export {
  Discovery,
  Picked,
  Registration,
  Service,
  ServiceList,
  type Instance,
  type InstanceInfo,
  type InstanceStatus,
  type PickBy,
  type PickOptions,
  type RegistrationState,
  type ServiceChange,
} from './service.js';
export { Session, type SessionState } from './session.js';
export { Stream, Watch } from './streams.js';
export { Compare, CompareTarget, Op, compare, op, type CompareOptions, type Transaction } from './txn.js';
export {
  KeyValue,
  Leader,
  Line,
  Member,
  RangeResult,
  TxnResult,
  type CasResult,
  type DeleteResult,
  type KeyEvent,
  type PutResult,
  type Waiting,
} from './types.js';
