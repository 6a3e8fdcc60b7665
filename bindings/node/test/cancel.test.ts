// AbortSignal: whoever gives up leaves nothing behind.

import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { after, before, test } from 'node:test';

import { type Client } from 'handfast';
import { TestServer } from 'handfast/testing';

import { PATIENT, until } from './util.js';

let server: TestServer;
let hf: Client;
before(async () => {
  server = await TestServer.start();
  hf = await server.connect(PATIENT);
});
after(() => server.close());

test('a wait ends with the reason of the signal, whatever it is', async () => {
  await using _held = await hf.lock('a').acquire();
  const controller = new AbortController();
  const waiting = hf.lock('a').acquire({ signal: controller.signal });
  await until(async () => (await server.waiters('a')) === 1, 'it waits');
  controller.abort('enough');
  await assert.rejects(waiting, (reason) => reason === 'enough');
  await until(async () => (await server.waiters('a')) === 0, 'it left');
  const timed = hf.lock('a').acquire({ signal: AbortSignal.timeout(5) });
  await assert.rejects(timed, { name: 'TimeoutError' });
  await assert.rejects(hf.get('k', { signal: AbortSignal.abort() }), { name: 'AbortError' });
});

test('no listener stays on the signal', async () => {
  const { signal } = new AbortController();
  for (let round = 0; round < 20; round += 1) await hf.get('k', { signal });
  await (await hf.lock('listeners').acquire({ signal })).release();
  assert.equal(getEventListeners(signal, 'abort').length, 0);
});

test('200 races of a grant with an abort leave no waiter and no holder', async () => {
  for (let round = 0; round < 200; round += 1) {
    const holder = await hf.lock('race').acquire();
    const controller = new AbortController();
    const waiting = hf.lock('race').acquire({ signal: controller.signal });
    const released = holder.release();
    // From at once to after the grant.
    for (let turn = 0; turn < round % 10; turn += 1) await new Promise(setImmediate);
    controller.abort();
    const won = await waiting.catch(() => null);
    await won?.release();
    await released;
  }
  await until(async () => (await hf.lock('race').line()).members.length === 0, 'nobody is left');
});

test('an aborted iteration ends with the reason', async () => {
  const controller = new AbortController();
  const watch = await hf.watch('w', { signal: controller.signal });
  const next = watch.next();
  controller.abort(new RangeError('mine'));
  await assert.rejects(next, RangeError);
});

test('a watch that is closed ends whoever waits for it', async () => {
  const watch = await hf.watch('w');
  const next = watch.next();
  watch.close();
  assert.deepEqual(await next, { done: true, value: undefined });
});

test('the client that is closed ends whoever waits for a change', async () => {
  const client = await server.connect(PATIENT);
  const watch = await client.watch('w');
  const ended = assert.rejects(watch.next(), { code: 'CLOSED' });
  await client.close();
  await ended;
});

test('a thousand wait, and the event loop goes on', async () => {
  const holder = await hf.lock('many').acquire();
  const controller = new AbortController();
  const { signal } = controller;
  const waiting = Array.from({ length: 1000 }, () => hf.lock('many').acquire({ signal }));
  const settled = Promise.allSettled(waiting);
  let ticks = 0;
  const ticker = setInterval(() => (ticks += 1), 1);
  await until(async () => (await server.waiters('many')) === 1000, 'all wait');
  const before = ticks;
  await until(() => ticks > before + 20, 'the clock ticks');
  clearInterval(ticker);
  controller.abort();
  const results = await settled;
  assert.equal(results.filter(({ status }) => status === 'rejected').length, 1000);
  await until(async () => (await server.waiters('many')) === 0, 'all left');
  await holder.release();
});
