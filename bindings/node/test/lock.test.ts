// Locks, as a program meets them.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { inspect } from 'node:util';

import { LockLostError, LockTimeoutError, type Client } from 'handfast';
import { TestServer } from 'handfast/testing';

import { PATIENT, aborted, until } from './util.js';

let server: TestServer;
let hf: Client;
before(async () => {
  server = await TestServer.start();
  hf = await server.connect({ appName: 'nightly', ...PATIENT });
});
after(() => server.close());

test('use runs the work while the lock is held, and gives its result', async () => {
  const result = await hf.lock('use').use(async (lock) => {
    assert.ok(lock.token > 0);
    assert.ok(lock.remainingMs > 0);
    lock.check();
    assert.equal(await hf.tryLock('use'), null);
    return lock.token;
  });
  await using again = await hf.lock('use').acquire();
  assert.ok(again.token > result, 'tokens grow');
  assert.equal(again.previousDied, false);
});

test('work that throws releases the lock, and its error goes on', async () => {
  const failed = hf.lock('throws').use(() => {
    throw new RangeError('mine');
  });
  await assert.rejects(failed, RangeError);
  const lock = await hf.tryLock('throws');
  assert.ok(lock);
  await lock.release();
  await lock.release();
});

test('ten programs count to a hundred without losing one', async () => {
  const clients = await Promise.all(Array.from({ length: 10 }, () => server.connect(PATIENT)));
  await hf.put('counter', '0');
  await Promise.all(
    clients.map(async (client) => {
      for (let round = 0; round < 10; round += 1) {
        await client.lock('count').use(async () => {
          const now = Number((await client.get('counter'))?.text);
          await client.put('counter', String(now + 1));
        });
      }
      await client.close();
    }),
  );
  assert.equal((await hf.get('counter'))?.text, '100');
});

test('a timeout says who holds it, and leaves nothing in line', async () => {
  await using _held = await hf.lock('busy').acquire();
  let error: unknown;
  const isNamed = async () => {
    error = await hf.lock('busy', { timeoutMs: 200 }).acquire().catch((reason: unknown) => reason);
    assert.ok(error instanceof LockTimeoutError);
    return error.holder?.app !== undefined;
  };
  // On a busy machine there may be no time to ask.
  await until(isNamed, 'it says who holds');
  assert.ok(error instanceof LockTimeoutError);
  assert.deepEqual([error.code, error.retryable, error.position], ['TIMEOUT', true, 2]);
  assert.deepEqual([error.holder?.app, error.holder?.pid], ['nightly', process.pid]);
  assert.match(error.message, /nightly/);
  const line = await hf.lock('busy').line();
  assert.equal(line.members.length, 1);
});

test('what is held says so when it is printed', async () => {
  await using held = await hf.lock('printed').acquire();
  assert.match(inspect(held), new RegExp(`^<HeldLock printed token=${held.token} remaining=\\d+ ms>$`));
  assert.equal(inspect(hf.lock('printed')), '<Lock printed>');
  assert.match(inspect(hf.session), /^<Session [0-9a-f]+ connected>$/);
});

test('an error says in its stack who asked', async () => {
  await using _held = await hf.lock('stack').acquire();
  async function theNightlyJob(): Promise<void> {
    await hf.lock('stack', { timeoutMs: 1 }).acquire();
  }
  await assert.rejects(theNightlyJob(), (error: Error) => /theNightlyJob/.test(error.stack ?? ''));
});

test('a lost lock aborts its signal, refuses guarded writes and rejects use', async () => {
  const client = await server.connect(PATIENT);
  const used = client.lock('lost').use(async (lock) => {
    await lock.put('guarded', '1');
    await server.expire(lock);
    const reason = await aborted(lock.signal);
    assert.ok(reason instanceof LockLostError);
    assert.equal(reason.reason, 'revoked');
    assert.throws(() => lock.check(), LockLostError);
    assert.equal(lock.remainingMs, 0);
    await assert.rejects(lock.put('guarded', '2'), LockLostError);
    return 'not given';
  });
  await assert.rejects(used, (error) => {
    assert.ok(error instanceof LockLostError);
    assert.deepEqual([error.code, error.details.name], ['LOCK_LOST', 'lost']);
    return true;
  });
  assert.equal((await hf.get('guarded'))?.text, '1');
  const next = await hf.lock('lost').acquire();
  assert.equal(next.previousDied, true);
  await next.release();
  await client.close();
});

test('a broken lock says who broke it and why', async () => {
  const lock = await hf.lock('broken').acquire();
  const holder = await hf.lock('broken').breakHolder('it hangs');
  assert.equal(holder?.token, lock.token);
  const reason = await aborted(lock.signal);
  assert.match(String(reason), /it hangs/);
  await assert.rejects(lock.release(), { code: 'LOCK_LOST' });
});

test('a lock follows the beat of its work', async () => {
  const lock = await hf.lock('beat', { beatMs: 60_000 }).acquire();
  lock.beat();
  await lock.release();
  const silent = await hf.lock('beat', { beatMs: 20 }).acquire();
  const reason = await aborted(silent.signal);
  assert.ok(reason instanceof LockLostError);
  assert.equal(reason.reason, 'no_beat');
  assert.throws(() => silent.beat(), LockLostError);
});

test('a lock that is only forgotten is free once it is collected', async () => {
  const { node } = await import('./util.js');
  const text = `
    import { connect } from 'handfast';
    const hf = await connect(${JSON.stringify(server.endpoint)});
    await (async () => { await hf.lock('forgotten').acquire(); })();
    for (let round = 0; round < 500; round += 1) {
      global.gc();
      await new Promise((resolve) => setTimeout(resolve, 10));
      if (await hf.tryLock('forgotten')) process.exit(7);
    }`;
  const ended = await node(['--expose-gc', '--input-type=module', '--eval', text]);
  assert.equal(ended.code, 7, ended.output);
});

test('closing the client gives locks back, and ends a wait', async () => {
  const client = await server.connect(PATIENT);
  await client.lock('closing').acquire();
  const other = await server.connect(PATIENT);
  const waiting = assert.rejects(other.lock('closing').acquire(), { name: 'ClosedError', code: 'CLOSED' });
  await until(async () => (await server.waiters('closing')) === 1, 'the other waits');
  await other.close();
  await waiting;
  await assert.rejects(other.get('k'), { code: 'CLOSED' });
  await client.close();
  await client.close();
  await (await hf.lock('closing').acquire()).release();
});
