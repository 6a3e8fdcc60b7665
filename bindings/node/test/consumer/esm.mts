// A program that uses the package as a module, under the strictest settings.

import {
  HandfastError,
  LockTimeoutError,
  compare,
  connect,
  op,
  type Client,
  type Config,
  type ConfigEvent,
  type LockOptions,
  type Member,
} from 'handfast';
import { testServer, type TestServer } from 'handfast/testing';

const endpoint: string | undefined = process.argv[2];
const timeoutMs: number | undefined = Number(process.argv[3] ?? 5000);

async function nightly(hf: Client): Promise<number> {
  // What may be absent may be undefined, too.
  const options: LockOptions = { timeoutMs, maxHoldMs: undefined };
  return hf.lock('nightly', options).use(async (lock) => {
    const signal: AbortSignal = lock.signal;
    signal.throwIfAborted();
    await lock.txn({ when: [compare.missing('by-esm')], then: [op.put('by-esm', 'x')] });
    console.log('held');
    return lock.token;
  });
}

interface Limits {
  readonly uploads: number;
}

export async function limits(hf: Client): Promise<number> {
  await using config: Config<Limits> = await hf.config<Limits>('limits', {
    validate: ({ uploads }) => uploads > 0,
    default: { uploads: 1 },
  });
  const stop: () => void = config.onChange(({ uploads }, { revision }) => console.log(uploads, revision));
  for await (const event of config.events()) {
    const told: ConfigEvent<Limits> = event;
    if (told.kind === 'applied') return told.current.value.uploads;
  }
  stop();
  return config.get().uploads;
}

export function holderOf(error: unknown): Member | undefined {
  return error instanceof LockTimeoutError ? error.holder : undefined;
}

await using hf = await connect(endpoint);
try {
  const token: number = await nightly(hf);
  if (!(token > 0)) throw new Error('no token');
} catch (error) {
  if (HandfastError.is(error)) console.error(error.code, error.details.holder);
  throw error;
}

export type Started = (context: { after(clean: () => Promise<void>): void }) => Promise<TestServer>;
export const started: Started = testServer;
