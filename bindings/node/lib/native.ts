// Finds and loads the native module; private.

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import process from 'node:process';

import type * as Native from './native.cjs';

const require = createRequire(import.meta.url);
/** The platforms there is a package for. */
const PLATFORMS = (require('../platforms.json') as readonly { name: string }[]).map(({ name }) => name);

function platform(): string {
  const { platform, arch } = process;
  if (platform !== 'linux') return `${platform}-${arch}`;
  return `${platform}-${arch}-${isMusl() ? 'musl' : 'gnu'}`;
}

function isMusl(): boolean {
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined;
  return report?.header?.glibcVersionRuntime === undefined && !existsSync('/lib64/ld-linux-x86-64.so.2');
}

function load(): typeof Native {
  const wanted = platform();
  const name = `@handfast/native-${wanted}`;
  if (!PLATFORMS.includes(wanted)) {
    throw new Error(`handfast has no native module for ${wanted} yet; there is one for ${PLATFORMS.join(', ')}`);
  }
  try {
    return require(name) as typeof Native;
  } catch (cause) {
    const missing = (cause as { code?: unknown }).code === 'MODULE_NOT_FOUND';
    const advice = missing
      ? `it is an optional dependency that was not installed: run "npm install ${name}", ` +
        'and leave out --omit=optional and --no-optional'
      : `it is there but cannot be loaded: ${(cause as Error).message}`;
    throw new Error(`handfast needs the package ${name}; ${advice}`, { cause });
  }
}

/** @internal */
export const native: typeof Native = load();
