// Exclusive and ordered: writers append to one log under a lock, in the order they came.
//
// Run it: `node shared_log.mjs` starts a server of its own; `node shared_log.mjs ENDPOINT` uses
// another one.
//
// Who waits is served first come, first served. Two logs that belong together are locked together,
// whatever the order they are named in: nobody waits for somebody who waits for them.

import { Server, connect } from 'handfast';

const LOG = 'log/audit';
const TEXT = `${LOG}.text`;

async function append(hf, who) {
  await hf.lock(LOG, { timeoutMs: 60_000 }).use(async (lock) => {
    const before = (await hf.get(TEXT))?.text ?? '';
    // Refused by the store if the lock is lost by now.
    await lock.put(TEXT, `${before} ${who}`.trim());
  });
}

async function inOrder(hf) {
  const writers = [];
  await hf.lock(LOG).use(async () => {
    // Each place in line is a key below the lock's name: a change says when to look again.
    const places = await hf.watch(`${LOG}/`, { prefix: true });
    for (const who of ['ada', 'bob', 'cyd']) {
      writers.push(append(hf, who));
      do await places.next();
      while ((await hf.lock(LOG).line()).waiters.length < writers.length);
    }
    places.close();
    console.log('waiting:', writers.length);
  });
  await Promise.all(writers);
  console.log('written by:', (await hf.get(TEXT)).text);
}

async function both(hf, names) {
  await hf.multiLock(names, { timeoutMs: 60_000 }).use((locks) => locks.put('log/both', names[0]));
}

async function together(hf) {
  const pairs = [['x', 'y'], ['y', 'x'], ['x', 'y']];
  await Promise.all(pairs.map((pair) => both(hf, pair.map((name) => `log/${name}`))));
  console.log('no deadlock');
}

async function main(endpoint) {
  const hf = await connect(endpoint);
  await inOrder(hf);
  await together(hf);
  await hf.close();
}

const given = process.argv[2];
const server = given === undefined ? await Server.start() : null;
await main(given ?? server.endpoint);
await server?.close();
