// A queue of jobs: first in, first out; failed ones again; and the four conditions.
//
// Run it: `node jobs.mjs` starts a server of its own; `node jobs.mjs ENDPOINT` uses another one.
//
// An acknowledgement commits the job's result with it: both are in the store, or none.

import { Server, connect, op } from 'handfast';

/** Takes so many items, and tells in which order they came. */
async function work(queue, items) {
  const done = [];
  for await (const claim of queue.items({ timeoutMs: 30_000 })) {
    await claim.ack([op.put(`results/${claim.id}`, claim.text.toUpperCase())]);
    done.push(claim.id);
    if (done.length === items) break;
  }
  return done;
}

async function inOrder(hf) {
  const queue = hf.queue('jobs');
  for (const id of ['a', 'b', 'c']) await queue.push(`job ${id}`, { id });
  console.log('pushed again:', (await queue.push('job a', { id: 'a' })).duplicate);
  console.log('first in, first out:', ...(await work(queue, 3)));
  console.log('result:', (await hf.get('results/b')).text);
}

async function failing(hf) {
  const queue = hf.queue('failing');
  await queue.push('1/0', { id: 'bad' });
  for await (const claim of queue.items({ maxAttempts: 2, timeoutMs: 30_000 })) {
    const isDead = await claim.nack(`division by zero: attempt ${claim.attempt}`);
    console.log('failed: attempt', claim.attempt);
    if (isDead) break;
  }
  const [letter] = await queue.dead();
  console.log('dead letter:', letter.said);
}

async function conditions(hf) {
  const reason = async (queue, id) => (await queue.why(id)).reasons[0].text;

  const counted = hf.queue('counted');
  await counted.condition({ count: 3 });
  for (const id of ['x', 'y']) await counted.push(id, { id });
  console.log('two of three:', await reason(counted, 'x'));
  await counted.push('z', { id: 'z' });
  console.log('three of three:', ...(await work(counted, 3)));

  const gated = hf.queue('gated');
  await gated.push('behind the gate', { id: 'behind', gate: 'ready' });
  await gated.push('opens it', { id: 'prepare', opens: 'ready' });
  console.log("the gate's task first:", ...(await work(gated, 2)));

  const ordered = hf.queue('ordered');
  await ordered.push('link', { id: 'link', after: ['compile a', 'compile b'] });
  await ordered.push('a', { id: 'compile a' });
  await ordered.push('b', { id: 'compile b' });
  console.log('in order of dependence:', ...(await work(ordered, 3)));

  const steered = hf.queue('steered');
  await steered.condition({ start: true });
  await steered.push('x', { id: 'x' });
  console.log('not started:', await reason(steered, 'x'));
  await steered.control('run');
  console.log('started:', ...(await work(steered, 1)));
}

async function main(endpoint) {
  const hf = await connect(endpoint);
  await inOrder(hf);
  await failing(hf);
  await conditions(hf);
  await hf.close();
}

const given = process.argv[2];
const server = given === undefined ? await Server.start() : null;
await main(given ?? server.endpoint);
await server?.close();
