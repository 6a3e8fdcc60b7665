// What the tests share.

import { spawn, type SpawnOptions } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** For clients of tests that are not about time: a busy machine is late by seconds. */
export const PATIENT = { ttlMs: 60_000, timeoutMs: 60_000 };

/** Waits until `is` holds, asking again and again. */
export async function until(is: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const end = Date.now() + 60_000;
  // What is asked for may be costly, and late on a machine that is busy.
  for (let pause = 5; Date.now() < end; pause = Math.min(pause * 1.5, 300)) {
    if (await is()) return;
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
  throw new Error(`never: ${what}`);
}

/** Resolves when `signal` has aborted. */
export function aborted(signal: AbortSignal): Promise<unknown> {
  if (signal.aborted) return Promise.resolve(signal.reason);
  // The news of a loss does not hold the process open; this does.
  const open = setInterval(() => undefined, 60_000);
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => {
      clearInterval(open);
      resolve(signal.reason);
    });
  });
}

/** The folder of the package. */
export const PACKAGE = fileURLToPath(new URL('../../', import.meta.url));

/** How a program ended, and what it printed. */
export interface Ended {
  code: number | null;
  signal: string | null;
  output: string;
}

/** Runs Node; `seen` is called with all output so far. */
export function node(
  args: string[],
  options: SpawnOptions = {},
  seen: (output: string, kill: (signal: NodeJS.Signals) => void) => void = () => undefined,
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd: PACKAGE, ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data: Buffer) => {
        output += data.toString();
        seen(output, (signal) => child.kill(signal));
      });
    }
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, output }));
  });
}

/** Runs a program of this package's user. */
export function program(text: string, options: SpawnOptions = {}): Promise<Ended> {
  return node(['--input-type=module', '--eval', text], options);
}
