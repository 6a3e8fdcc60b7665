// The `handfast` command line in this process; private.

import process from 'node:process';

import { native } from './native.js';

/** @internal */
export function main(): never {
  // It blocks this thread, which has nothing else to do, and prints by itself.
  process.exit(native.cliMain(['handfast', ...process.argv.slice(2)]));
}
