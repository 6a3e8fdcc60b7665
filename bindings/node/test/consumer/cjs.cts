// A program that requires the package, under the strictest settings.

import handfast = require('handfast');

async function main(): Promise<void> {
  const hf: handfast.Client = await handfast.connect(process.argv[2]);
  const lock: handfast.HeldLock | null = await hf.tryLock('required');
  if (lock !== null) console.log('held');
  await lock?.release();
  await hf.close();
}

void main();
