// Queues, services, configurations, work done once, and several locks at once.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import {
  AckLostError,
  DrainingError,
  DuplicateInstanceError,
  NoInstanceError,
  op,
  type Client,
} from 'handfast';
import { TestServer, testServer } from 'handfast/testing';

import { PATIENT, aborted, until } from './util.js';

let server: TestServer;
let hf: Client;
before(async () => {
  server = await TestServer.start();
  hf = await server.connect(PATIENT);
});
after(() => server.close());

test('several locks are held together, and lost together', async () => {
  const locks = await hf.multiLock(['m/b', 'm/a', 'm/b']).acquire();
  assert.deepEqual(locks.names, ['m/a', 'm/b']);
  assert.equal(await hf.tryLock('m/a'), null);
  assert.equal(await hf.multiLock(['m/b', 'm/c']).tryAcquire(), null);
  await hf.lock('m/b').breakHolder('a test');
  await aborted(locks.signal);
  await assert.rejects(locks.release(), { code: 'LOCK_LOST' });
  const counted = await Promise.all(
    [['m/x', 'm/y'], ['m/y', 'm/x'], ['m/x']].map((names) => hf.multiLock(names).use(({ names }) => names.length)),
  );
  assert.deepEqual(counted, [2, 2, 1]);
});

test('items are done in order, with the writes of their acknowledgement', async () => {
  const queue = hf.queue('images');
  const first = await queue.push('one', { id: 'a' });
  assert.equal(first.duplicate, false);
  assert.equal((await queue.push('again', { id: 'a' })).duplicate, true);
  await queue.push(JSON.stringify({ n: 2 }), { id: 'b', after: ['a'] });
  assert.deepEqual((await queue.list()).map(({ id, state }) => [id, state]), [['a', 'ready'], ['b', 'blocked']]);
  const why = await queue.why('b');
  assert.equal(why.reasons.length, 1);

  const done: string[] = [];
  await queue.control('drain');
  await assert.rejects(queue.push('late'), DrainingError);
  for await (const item of queue) {
    done.push(item.id);
    assert.equal(item.attempt, 1);
    const revision = await item.ack([op.put(`done/${item.id}`, item.text)]);
    assert.equal((await hf.get(`done/${item.id}`))?.modRevision, revision);
  }
  assert.deepEqual(done, ['a', 'b']);
  const status = await queue.status();
  assert.deepEqual([status.ready, status.dead, status.control], [0, 0, 'drain']);
});

test('an item that fails too often is a dead letter, and can be tried again', async () => {
  const queue = hf.queue('failing');
  await queue.push('x', { id: 'x' });
  const first = await queue.claim({ maxAttempts: 2 });
  assert.equal(await first?.nack('no luck'), false);
  const second = await queue.claim({ maxAttempts: 2 });
  assert.equal(second?.attempt, 2);
  assert.equal(await second?.nack('again no luck'), true);
  const [letter] = await queue.dead();
  assert.deepEqual([letter?.id, letter?.said, letter?.payload.toString()], ['x', 'again no luck', 'x']);
  assert.equal(await queue.retry('x'), true);
  const third = await queue.claim();
  await third?.release();
  const fourth = await queue.claim();
  assert.ok(fourth);
  await fourth.ack();
});

test('an item is acknowledged when its work has ended, and fails when that throws', async () => {
  const queue = hf.queue('used', { keepHistory: 10 });
  assert.equal(queue.name, 'used');
  await queue.push('x', { id: 'x' });
  const claim = async () => {
    const item = await queue.claim();
    assert.ok(item);
    return item;
  };
  const failed = await claim();
  await assert.rejects(failed.use(() => Promise.reject(new RangeError('mine'))), RangeError);
  assert.equal((await queue.list())[0]?.said, 'RangeError: mine');
  const aborted = await claim();
  assert.equal(aborted.attempt, 2);
  const signal = AbortSignal.abort();
  await assert.rejects(aborted.use(() => signal.throwIfAborted(), { signal }), { name: 'AbortError' });
  const again = await claim();
  assert.equal(again.attempt, 2);
  assert.equal(await again.use(async (item) => item.text), 'x');
  assert.deepEqual(await queue.list(), []);
  // The second acknowledgement would fail.
  await queue.push('y');
  await (await claim()).use((item) => item.ack([op.put('used/y', 'done')]));
  assert.equal((await hf.get('used/y'))?.text, 'done');
});

test('a claim that is lost acknowledges nothing', async () => {
  const worker = await server.connect(PATIENT);
  const queue = worker.queue('lost');
  await queue.push('x', { id: 'x' });
  const claim = await queue.claim();
  assert.ok(claim);
  await server.expire(claim);
  await aborted(claim.signal);
  await assert.rejects(claim.ack([op.put('lost/x', 'no')]), (error) => {
    assert.ok(error instanceof AckLostError || (error as { code: string }).code === 'LOCK_LOST');
    return true;
  });
  assert.equal(await hf.get('lost/x'), null);
  const next = await hf.queue('lost').claim();
  assert.equal(next?.id, 'x');
  await next?.ack();
});

test('a worker that gives up waiting leaves no claim', async () => {
  const queue = hf.queue('aborted');
  for (let round = 0; round < 30; round += 1) {
    const controller = new AbortController();
    const waiting = queue.claim({ signal: controller.signal });
    const pushed = queue.push(String(round), { id: String(round) });
    for (let turn = 0; turn < round % 6; turn += 1) await new Promise(setImmediate);
    controller.abort();
    const won = await waiting.catch(() => null);
    await won?.release();
    await pushed;
    const item = await queue.claim();
    assert.deepEqual([item?.id, item?.attempt], [String(round), 1]);
    await item?.ack();
  }
});

test('nobody works before the queue is complete', async () => {
  const queue = hf.queue('counted');
  await queue.condition({ count: 2 });
  await queue.push('1');
  await assert.rejects(queue.claim({ timeoutMs: 50 }), { code: 'TIMEOUT' });
  await queue.push('2');
  await (await queue.claim())?.ack();
  await queue.push('gated', { gate: 'g', id: 'gated' });
  assert.equal(await queue.openGate('g'), true);
});

test('an instance is found, picked, changed and gone', async () => {
  await using found = await hf.discover('api');
  assert.throws(() => found.pick(), NoInstanceError);
  const changes = found.changes();
  const ready = found.pickWhenReady();
  const other = await server.connect(PATIENT);
  const registration = await other.service('api').register('n1', '10.0.0.5:80', {
    weight: 3,
    metadata: { rack: '7' },
  });
  assert.equal(registration.state.code, 'listed');
  assert.equal((await ready).addr, '10.0.0.5:80');
  const { value: joined } = await changes.next();
  assert.equal(joined?.kind, 'joined');
  assert.deepEqual([joined?.instance.weight, joined?.instance.metadata], [3, { rack: '7' }]);
  await assert.rejects(hf.service('api').register('n1', 'other:80'), (error) => {
    assert.ok(error instanceof DuplicateInstanceError);
    assert.equal(error.holder?.pid, process.pid);
    return true;
  });
  const picked = found.pick({ by: 'hash', key: 'user-7' });
  picked.report(true, 12);
  picked.report(true);
  assert.throws(() => found.pick({ by: 'hash' }), { code: 'INVALID_ARGUMENT' });

  const revision = await registration.update({ status: 'draining' });
  await found.atLeast(revision);
  assert.equal(found.list().instances[0]?.status, 'draining');
  const { value: updated } = await changes.next();
  assert.deepEqual([updated?.kind, updated?.before?.status], ['updated', 'up']);
  await registration.unregister();
  assert.equal((await changes.next()).value?.kind, 'left');
  assert.equal(registration.state.code, 'ended');
});

test('a service is listed and told its status by others', async () => {
  const service = hf.service('listed');
  assert.deepEqual(await service.list(), []);
  assert.equal(await service.setStatus('n1', 'draining'), null);
  await using registration = await service.register('n1', '10.0.0.5:80', { zone: 'a', metadata: { rack: '7' } });
  assert.deepEqual([registration.service, registration.id, registration.key], ['listed', 'n1', 'listed/n1']);
  const revision = await service.setStatus('n1', 'draining');
  assert.ok(revision !== null);
  await using found = await service.discover();
  await found.atLeast(revision);
  assert.deepEqual([...found.list()].map(({ id, status }) => [id, status]), [['n1', 'draining']]);
  const [instance] = await service.list();
  assert.deepEqual([instance?.addr, instance?.status, instance?.metadata], ['10.0.0.5:80', 'draining', { rack: '7' }]);
  await assert.rejects(service.setStatus('n1', 'gone' as never), { code: 'INVALID_ARGUMENT' });
});

test('a call to a picked instance reports by itself how it went', async () => {
  await using _registration = await hf.service('called').register('n1', 'a:1');
  await using found = await hf.discover('called');
  const picked = await found.pickWhenReady();
  assert.equal(await picked.use(({ addr }) => addr), 'a:1');
  await assert.rejects(found.pick().use(() => Promise.reject(new RangeError('mine'))), RangeError);
});

test('a registration heals itself when the session is lost', async (t) => {
  const own = await testServer(t);
  const client = await own.connect(PATIENT);
  await using registration = await client.service('api').register('n1', 'a:1');
  await using found = await client.discover('api', { guardMs: 0 });
  const before = found.list().instances[0];
  await own.expireSessions();
  await until(() => {
    const [now] = found.list().instances;
    return now !== undefined && now.token !== before?.token;
  }, 'it is listed again');
  await until(() => registration.state.code === 'listed', 'it knows');
});

test('work is done once, and whoever fails leaves it to the next', async () => {
  const once = hf.once('index', { input: 'v1' });
  assert.equal(await once.get(), null);
  const failing = once.getOrRun(() => {
    throw new RangeError('mine');
  });
  await assert.rejects(failing, RangeError);
  let runs = 0;
  const results = await Promise.all(
    Array.from({ length: 5 }, async () => {
      const client = await server.connect(PATIENT);
      return client.once('index', { input: 'v1' }).getOrRun(async (lock) => {
        runs += 1;
        assert.ok(lock.token > 0);
        return 'built';
      });
    }),
  );
  assert.equal(runs, 1);
  assert.deepEqual(results.map(({ text }) => text), Array(5).fill('built'));
  assert.equal(results.filter(({ ran }) => ran).length, 1);
  assert.equal((await hf.once('index', { input: 'v2' }).get()), null);
  assert.equal(await once.forget(), true);
});

test('a result can be waited for by those who do not do the work', async () => {
  const once = hf.once('awaited');
  const waiting = once.wait();
  await assert.rejects(hf.once('awaited', { timeoutMs: 20 }).wait(), { code: 'TIMEOUT' });
  await assert.rejects(once.wait({ signal: AbortSignal.timeout(5) }), { name: 'TimeoutError' });
  const done = await once.getOrRun(() => JSON.stringify([1]));
  const told = await waiting;
  assert.deepEqual([done.ran, told.ran, told.json()], [true, false, [1]]);
  assert.equal((await once.wait()).revision, done.revision);
});
