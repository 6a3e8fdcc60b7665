// From one item of a queue to the next in one transaction.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { AckLostError, op, type Claim, type Client, type Queue } from 'handfast';
import { TestServer } from 'handfast/testing';

import { PATIENT, aborted, until } from './util.js';

let server: TestServer;
let hf: Client;
before(async () => {
  server = await TestServer.start();
  hf = await server.connect(PATIENT);
});
after(() => server.close());

/** The first of these items; the others were seen. */
async function begun(queue: Queue, ids: readonly string[]): Promise<Claim> {
  for (const id of ids) await queue.push(`the ${id}`, { id });
  const first = await queue.claim();
  assert.ok(first);
  assert.equal(first.id, ids[0]);
  await queue.list();
  return first;
}

async function ready(queue: Queue): Promise<string[]> {
  return (await queue.list()).filter(({ state }) => state === 'ready').map(({ id }) => id);
}

test('an acknowledgement claims the next item at its own revision, until there is none', async () => {
  const queue = hf.queue('onward');
  const first = await begun(queue, ['b', 'a']);
  const { revision, next } = await first.ackAndNext([op.put('onward/b', 'done')]);
  assert.equal((await hf.get('onward/b'))?.modRevision, revision);
  assert.deepEqual([next?.id, next?.text, next?.attempt, next?.token], ['a', 'the a', 1, revision]);
  const last = await next?.ackAndNext();
  assert.ok(last && last.revision > revision);
  assert.equal(last.next, null);
  assert.deepEqual(await queue.list(), []);
  await assert.rejects(first.ackAndNext(), { code: 'CLOSED' });
});

test('a loop goes on with what was claimed, and gives it back when it is left', async () => {
  const queue = hf.queue('onward-loop');
  for (const id of ['a', 'b', 'c', 'd', 'e']) await queue.push('', { id });
  const seen: string[] = [];
  let expected: Claim | null = null;
  for await (const item of queue) {
    if (expected !== null) assert.equal(item, expected);
    seen.push(item.id);
    await queue.list();
    expected = (await item.use((claim) => claim.ackAndNext())).next;
    assert.ok(expected);
    // One is done with before the loop comes to it.
    if (item.id === 'b') {
      await expected.ack();
      expected = null;
    }
    if (item.id === 'd') break;
  }
  assert.deepEqual(seen, ['a', 'b', 'd']);
  assert.deepEqual(await ready(queue), ['e']);
  const again = await queue.claim();
  assert.equal(again?.attempt, 1);
  await again?.ack();
});

test('an abort leaves the acknowledgement, and no claim', async () => {
  const queue = hf.queue('onward-abort');
  const first = await begun(queue, ['a', 'b']);
  await assert.rejects(first.ackAndNext([], { signal: AbortSignal.abort() }), { name: 'AbortError' });
  assert.equal(first.held, true);
  const controller = new AbortController();
  const going = first.ackAndNext([op.put('onward-abort/a', 'done')], { signal: controller.signal });
  controller.abort();
  await assert.rejects(going, { name: 'AbortError' });
  await until(async () => (await hf.get('onward-abort/a')) !== null, 'the acknowledgement');
  const next = await queue.claim();
  assert.deepEqual([next?.id, next?.attempt], ['b', 1]);
  await next?.ack();
});

test('a claim that is lost gets no other', async () => {
  const worker = await server.connect(PATIENT);
  const claim = await begun(worker.queue('onward-lost'), ['a', 'b']);
  await server.expire(claim);
  await aborted(claim.signal);
  await assert.rejects(claim.ackAndNext([op.put('onward-lost/a', 'no')]), (error) => {
    assert.ok(error instanceof AckLostError || (error as { code: string }).code === 'LOCK_LOST', String(error));
    return true;
  });
  assert.equal(await hf.get('onward-lost/a'), null);
  assert.deepEqual(await ready(hf.queue('onward-lost')), ['a', 'b']);
});
