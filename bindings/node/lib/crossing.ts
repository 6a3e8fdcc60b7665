// Awaiting the native module, and leaving when an AbortSignal says so.

import { asArgument, isFailure, unwrap } from './errors.js';
import type * as Native from './native.cjs';
import { native } from './native.js';

/** Ends a wait: it rejects with the signal's reason, and leaves nothing behind. */
export interface Abortable {
  signal?: AbortSignal | undefined;
}

const never = new native.CancelToken();

/**
 * What `call` gives. When `signal` aborts it rejects with the signal's reason at once, and the
 * work is dropped soon after; a value that was on its way by then goes to `discard`.
 *
 * @internal
 */
export async function crossing<T>(
  signal: AbortSignal | undefined,
  call: (token: Native.CancelToken) => Promise<T | Native.NativeError>,
  discard?: (late: T) => void,
): Promise<T> {
  if (signal === undefined) return unwrap(await asked(() => call(never)));
  signal.throwIfAborted();
  return unwrap(await abortable(signal, call, discard));
}

/** What `call` gives at once, with the errors of its arguments as ours. @internal */
export function asked<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw asArgument(error);
  }
}

function abortable<T>(
  signal: AbortSignal,
  call: (token: Native.CancelToken) => Promise<T | Native.NativeError>,
  discard: ((late: T) => void) | undefined,
): Promise<T | Native.NativeError> {
  const token = new native.CancelToken();
  const work = asked(() => call(token));
  return new Promise((resolve, reject) => {
    let aborted = false;
    const abort = (): void => {
      aborted = true;
      token.cancel();
      reject(signal.reason);
    };
    signal.addEventListener('abort', abort, { once: true });
    work.then(
      (value) => {
        signal.removeEventListener('abort', abort);
        if (!aborted) resolve(value);
        else if (!isFailure(value)) discard?.(value);
      },
      (error: unknown) => {
        signal.removeEventListener('abort', abort);
        reject(error);
      },
    );
  });
}
