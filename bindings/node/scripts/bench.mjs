// How long a lock and an unlock take, 64 at once, each on a name of its own. The same of the Rust
// client: bindings/common/examples/lock_cycles.rs; bindings/python/scripts/bench.py lets all take
// turns. Build them with --release.
//
//     node scripts/bench.mjs ENDPOINT [SECONDS]

import { connect } from '../dist/index.js';

const [endpoint = '127.0.0.1:2379', seconds = '5'] = process.argv.slice(2);
const AT_ONCE = 64;

const hf = await connect(endpoint);
const until = performance.now() + Number(seconds) * 1000;
const took = [];

async function cycle(name) {
  const lock = hf.lock(name);
  while (performance.now() < until) {
    const begun = performance.now();
    const held = await lock.acquire();
    await held.release();
    took.push(performance.now() - begun);
  }
}

const begun = performance.now();
await Promise.all(Array.from({ length: AT_ONCE }, (_, number) => cycle(`bench/${number}`)));
const whole = (performance.now() - begun) / 1000;
took.sort((a, b) => a - b);
const at = (share) => took[Math.floor(share * (took.length - 1))].toFixed(2);
const rate = (took.length / whole).toFixed(0);
console.log(`${rate} lock+unlock/s at ${AT_ONCE} at once; p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`);
await hf.close();
