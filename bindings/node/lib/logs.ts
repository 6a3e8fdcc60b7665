// Log records of the native module.

import process from 'node:process';

import { unwrap } from './errors.js';
import { native } from './native.js';

/** How grave a record is. */
export type LogLevel = 'error' | 'warn' | 'info' | 'debug' | 'trace';

/** One record. */
export interface LogRecord {
  readonly level: LogLevel;
  /** Where it comes from, such as `handfast.session`. */
  readonly target: string;
  readonly message: string;
  readonly time: Date;
}

/**
 * Gives log records of `level` (default `info`) and graver ones to `sink`, or to nobody when that
 * is `null`. There is one sink in a process, also over worker threads: the last one wins. At most
 * 2048 records wait; what is dropped is counted and reported. `false` when something else in the
 * process takes the records already.
 *
 * ```ts
 * setLogSink(({ level, target, message }) => console[level](`${target}: ${message}`));
 * ```
 */
export function setLogSink(sink: ((record: LogRecord) => void) | null, level: LogLevel = 'info'): boolean {
  if (sink === null) {
    native.removeLogSink();
    return true;
  }
  let complained = false;
  const take = (raw: { level: string; target: string; message: string; unixMs: number }): void => {
    const { target, message } = raw;
    try {
      sink({ level: raw.level as LogLevel, target, message, time: new Date(raw.unixMs) });
    } catch (error) {
      // A broken log is no reason to end the program.
      if (!complained) process.emitWarning(`handfast's log sink throws: ${String(error)}`);
      complained = true;
    }
  };
  return unwrap(native.setLogSink(level, take));
}
