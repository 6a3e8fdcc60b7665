// Keys and values: what a program stores, compares, watches and lets go with itself.

import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { after, before, test } from 'node:test';

import { CompactedError, HandfastError, InvalidArgumentError, compare, connect, op, type Client } from 'handfast';
import { TestServer } from 'handfast/testing';

import { PATIENT, aborted } from './util.js';

let server: TestServer;
let hf: Client;
before(async () => {
  server = await TestServer.start();
  hf = await server.connect(PATIENT);
});
after(() => server.close());

test('what is put is read, as text and as bytes', async () => {
  const put = await hf.put('greeting', 'hello');
  const pair = await hf.get('greeting');
  assert.ok(pair);
  assert.equal(pair.text, 'hello');
  assert.equal(pair.keyText, 'greeting');
  assert.equal(pair.modRevision, put.revision);
  assert.equal(pair.lease, null);
  assert.equal(await hf.get('nothing'), null);

  const raw = new Uint8Array([0, 255, 10]);
  await hf.put(raw, raw.subarray(1));
  assert.deepEqual([...((await hf.get(raw))?.value ?? [])], [255, 10]);
  await hf.put('json', JSON.stringify({ a: 1 }));
  assert.deepEqual((await hf.get('json'))?.json(), { a: 1 });
});

test('ranges have prefixes, limits and old revisions', async () => {
  const { revision } = await hf.put('r/a', '1');
  await hf.put('r/b', '2');
  await hf.put('r/a', '3', { previous: true }).then(({ previous }) => assert.equal(previous?.text, '1'));
  const all = await hf.range('r/', { prefix: true });
  assert.deepEqual([...all].map((pair) => pair.text), ['3', '2']);
  const some = await hf.range('r/', { prefix: true, limit: 1, keysOnly: true });
  assert.deepEqual([some.count, some.more, some.pairs[0]?.text], [2, true, '']);
  assert.equal((await hf.get('r/a', { revision }))?.text, '1');
  const gone = await hf.delete('r/', { prefix: true, previous: true });
  assert.deepEqual([gone.deleted, gone.previous.length], [2, 2]);
});

test('compare and set writes only what is as expected', async () => {
  assert.equal((await hf.cas('cas', null, 'one')).succeeded, true);
  const refused = await hf.cas('cas', null, 'two');
  assert.equal(refused.succeeded, false);
  assert.equal(refused.current?.text, 'one');
  const read = await hf.get('cas');
  assert.ok(read);
  assert.equal((await hf.cas('cas', 'one', 'two')).succeeded, true);
  // The same value again, but another version of the key.
  await hf.put('cas', 'one');
  assert.equal((await hf.cas('cas', read, 'three')).succeeded, false);
});

test('a transaction does one of two things at one revision', async () => {
  const result = await hf.txn({
    when: [compare.missing('t/lock'), compare.version('t/other').lt(1)],
    then: [op.put('t/lock', 'me'), op.get('t/lock')],
    otherwise: [op.get('t/', { prefix: true })],
  });
  assert.equal(result.succeeded, true);
  assert.equal(result.pair(1)?.text, 'me');
  assert.equal(result.pair(1)?.modRevision, result.revision);
  const second = await hf.txn({ when: [compare.value('t/lock').eq('you')], otherwise: [op.delete('t/lock')] });
  assert.equal(second.succeeded, false);
  assert.deepEqual(second.results[0], { deleted: 1, revision: second.revision, previous: [] });
});

test('a key goes away with its lease', async () => {
  // It is renewed every 2 s, which finds it gone.
  const lease = await hf.lease(6_000);
  await hf.put('leased', 'x', { lease });
  assert.equal((await hf.get('leased'))?.lease, lease.id);
  const info = await lease.info();
  assert.deepEqual([info.ttlMs, info.keys.map(String)], [6_000, ['leased']]);
  const guarded = await hf.txn({ when: [compare.lease('leased').eq(lease.id)] });
  assert.equal(guarded.succeeded, true);
  await server.expire(lease.id);
  await aborted(lease.signal);
  assert.equal(await hf.get('leased'), null);
  await assert.rejects(lease.revoke(), (error) => HandfastError.is(error) && error.details.kind === 'lease_not_found');
});

test('a watch misses nothing once it is there, and tells what was before', async () => {
  await using watch = await hf.watch('w/', { prefix: true, previous: true });
  await hf.put('w/a', '1');
  await hf.put('w/a', '2');
  await hf.delete('w/a');
  const seen = [];
  for await (const event of watch) {
    seen.push([event.kind, event.pair.keyText, event.previous?.text, event.isCreate]);
    if (seen.length === 3) break;
  }
  assert.deepEqual(seen, [
    ['put', 'w/a', undefined, true],
    ['put', 'w/a', '1', false],
    ['delete', 'w/a', '2', false],
  ]);
  assert.deepEqual(await watch.next(), { done: true, value: undefined });
});

test('a slow consumer of events holds nobody up and misses nothing', async () => {
  const watch = await hf.watch('slow/', { prefix: true });
  const count = 500;
  for (let number = 0; number < count; number += 1) await hf.put(`slow/${number}`, 'x'.repeat(1000));
  assert.equal((await hf.range('slow/', { prefix: true, limit: 1 })).count, count);
  for (let number = 0; number < count; number += 1) {
    const { value } = await watch.next();
    assert.equal(value?.pair.keyText, `slow/${number}`);
  }
  watch.close();
});

test('history that is gone is said to be gone', async () => {
  const { revision } = await hf.put('c', '1');
  await hf.put('c', '2');
  await hf.compact(revision + 1);
  const old = hf.watch('c', { startRevision: 1 }).then((watch) => watch.next());
  await assert.rejects(old, (error) => {
    assert.ok(error instanceof CompactedError);
    assert.equal(error.compactRevision, revision + 1);
    return true;
  });
  await assert.rejects(hf.get('c', { revision: 1 }), CompactedError);
});

test('what cannot be meant is refused before it is sent', async () => {
  await assert.rejects(hf.put('', 'x'), InvalidArgumentError);
  await assert.rejects(hf.put('k', 'v', { lease: 'zebra' }), InvalidArgumentError);
  const soon = 'soon' as unknown as number;
  const { signal } = new AbortController();
  await assert.rejects(hf.lock('l', { timeoutMs: soon }).acquire({ signal }), { code: 'INVALID_ARGUMENT' });
  assert.equal(getEventListeners(signal, 'abort').length, 0);
  // @ts-expect-error: a key is no number
  await assert.rejects(hf.get(7), TypeError);
  assert.throws(() => compare.value('k').eq(null as never), TypeError);
});

test('a time that is none is refused with its name', async () => {
  await hf.service('times').register('n1', 'a:1');
  const found = await hf.discover('times');
  const takers: Record<string, ((given: never) => unknown)[]> = {
    timeoutMs: [
      (timeoutMs) => hf.lock('l', { timeoutMs }).acquire(),
      (timeoutMs) => hf.multiLock(['l', 'm'], { timeoutMs }).acquire(),
      (timeoutMs) => hf.election('e', { timeoutMs }).campaign(),
      (timeoutMs) => hf.queue('q').claim({ timeoutMs }),
      (timeoutMs) => hf.queue('q').items({ timeoutMs }).next(),
      (timeoutMs) => hf.once('o', { timeoutMs }).getOrRun(() => 'done'),
      (timeoutMs) => connect(server.endpoint, { timeoutMs }),
    ],
    ttlMs: [(ttlMs) => connect(server.endpoint, { ttlMs }), (ttlMs) => hf.lease(ttlMs)],
    maxHoldMs: [(maxHoldMs) => hf.lock('l', { maxHoldMs }).tryAcquire()],
    beatMs: [(beatMs) => hf.election('e', { beatMs }).campaign()],
    patienceMs: [(patienceMs) => hf.config('c', { default: 1, patienceMs })],
    guardMs: [(guardMs) => hf.discover('times', { guardMs })],
    waitMs: [(waitMs) => hf.service('times').register('n2', 'a:2', { waitMs })],
    latencyMs: [(latencyMs) => found.pick().report(true, latencyMs)],
  };
  const wrong = new Map<unknown, RegExp>([
    ['soon', / is a number of milliseconds, not string$/],
    [true, / is a number of milliseconds, not boolean$/],
    [{}, / is a number of milliseconds, not object$/],
    [null, / is a number of milliseconds, not null$/],
    [-1, /: -1 is not a number of milliseconds from 0 on$/],
    [NaN, /: NaN is not a number of milliseconds from 0 on$/],
  ]);
  for (const [argument, calls] of Object.entries(takers)) {
    for (const call of calls) {
      for (const [given, told] of wrong) {
        const refused = async () => call(given as never);
        await assert.rejects(refused, (error) => {
          assert.ok(error instanceof InvalidArgumentError, String(error));
          assert.match(error.message, told);
          assert.ok(error.message.startsWith(argument), error.message);
          assert.equal(error.details.argument, argument);
          return true;
        });
      }
    }
  }
  found.close();
});

test('an option of another type is refused with its name', async () => {
  const flag = 'yes' as unknown as boolean;
  const told = { code: 'INVALID_ARGUMENT', message: 'rejoin is true or false, not what was given' };
  await assert.rejects(hf.lock('l', { rejoin: flag }).acquire(), told);
  const settings = { limit: 'all' as unknown as number };
  await assert.rejects(hf.range('k', settings), { message: 'limit is a number, not string' });
});
