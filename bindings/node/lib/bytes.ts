// Keys and values are bytes; text is encoded as UTF-8.

import { Buffer } from 'node:buffer';

/** A key or a value: text is encoded as UTF-8. */
export type Bytes = string | Uint8Array;

/** @internal */
export function toBuffer(given: Bytes, what = 'key'): Buffer {
  if (typeof given === 'string') return Buffer.from(given);
  if (Buffer.isBuffer(given)) return given;
  if (given instanceof Uint8Array) {
    return Buffer.from(given.buffer, given.byteOffset, given.byteLength);
  }
  throw new TypeError(`a ${what} is a string or a Uint8Array, not ${given === null ? 'null' : typeof given}`);
}
