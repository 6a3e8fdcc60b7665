// A server that stops, hangs and forgets, and what the session says of it.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { HandfastError, UnavailableError, connect, type SessionState } from 'handfast';
import { testServer } from 'handfast/testing';

import { aborted, until } from './util.js';

test('data and clients outlive a restart', async (t) => {
  const server = await testServer(t);
  const hf = await server.connect();
  await hf.put('k', 'v');
  await using lock = await hf.lock('l').acquire();
  await server.restart();
  assert.equal((await hf.get('k'))?.text, 'v');
  lock.check();
});

test('a test server without a test is refused before it starts', async () => {
  const without = testServer as unknown as () => Promise<unknown>;
  await assert.rejects(without(), { code: 'INVALID_ARGUMENT', message: /TestServer\.start\(\)/ });
});

test('a stopped server is unavailable, and says where it was looked for', async (t) => {
  const server = await testServer(t);
  const hf = await server.connect({ timeoutMs: 500 });
  await server.stop();
  await assert.rejects(hf.get('k'), (error) => {
    assert.ok(HandfastError.is(error) && error.retryable);
    assert.ok(error.message.includes(server.endpoint.replace('http://', '')), error.message);
    return true;
  });
});

test('nobody listens: the error says so', async () => {
  const hf = await connect('127.0.0.1:1', { timeoutMs: 300 });
  await assert.rejects(hf.put('k', 'v'), (error) => {
    assert.ok(error instanceof UnavailableError || (HandfastError.is(error) && error.code === 'TIMEOUT'));
    return true;
  });
  await hf.close();
  await assert.rejects(connect('ftp://a'), { code: 'INVALID_ARGUMENT' });
  await assert.rejects(connect('a:1', { ttlMs: -1 }), { code: 'INVALID_ARGUMENT' });
});

test('a lock is lost when the server hangs for too long', async (t) => {
  const server = await testServer(t);
  const hf = await server.connect({ ttlMs: 2000 });
  const states: SessionState['code'][] = [];
  hf.session.on('state', ({ code }) => states.push(code));
  const lock = await hf.lock('l').acquire();
  server.pause();
  const reason = await aborted(lock.signal);
  assert.match(String(reason), /keepalive/);
  server.resume();
  await until(() => hf.session.state.code === 'connected', 'a new session');
  await until(() => states.includes('lost'), 'it was told');
  assert.notEqual(hf.session.lease, lock.lease);
  await using _again = await hf.lock('l').acquire();
});

test('states can be iterated', async (t) => {
  const server = await testServer(t);
  const hf = await server.connect();
  const states = hf.session.states();
  await using lock = await hf.lock('l').acquire();
  assert.equal(hf.session.lease, lock.lease);
  assert.ok(hf.session.remainingMs > 0);
  await server.expireSessions();
  for await (const state of states) {
    if (state.code === 'lost') {
      assert.equal(state.reason, 'revoked');
      break;
    }
    // On a busy machine the loss comes and goes unseen.
    if (state.code === 'connected' && hf.session.lease !== lock.lease) break;
  }
  await assert.rejects(lock.release(), { code: 'LOCK_LOST' });
  // What is lost cannot be given back a second time.
  await lock.release();
});
