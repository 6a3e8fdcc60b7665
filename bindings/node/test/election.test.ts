// Elections, as those who lead and those who watch meet them.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { KindConflictError, LeadershipLostError } from 'handfast';
import { TestServer } from 'handfast/testing';

import { PATIENT, aborted, until } from './util.js';

let server: TestServer;
before(async () => {
  server = await TestServer.start();
});
after(() => server.close());

test('one leads, the next follows, and an observer sees both', async () => {
  const [one, two, three] = await Promise.all([server.connect(PATIENT), server.connect(PATIENT), server.connect(PATIENT)]);
  const observed = await three.election('e').observe();
  assert.deepEqual(await observed.next(), { done: false, value: null });

  const first = await one.election('e', { value: 'n1' }).campaign();
  const seen = await observed.next();
  assert.deepEqual([seen.value?.text, seen.value?.token], ['n1', first.term]);
  const follower = two.election('e', { value: 'n2' }).lead(async (term) => {
    assert.ok(term.term > first.term);
    return (await three.election('e').leader())?.text;
  });
  await until(async () => (await three.election('e').candidates()).members.length === 2, 'two stand');
  await first.proclaim('n1, still');
  assert.equal((await observed.next()).value?.text, 'n1, still');
  await first.resign();
  assert.equal(await follower, 'n2');
  observed.close();
  await one.close();
});

test('a leader that lost hears of it', async () => {
  const client = await server.connect(PATIENT);
  const leading = client.election('lost').lead(async (term) => {
    await server.expire(term);
    assert.ok((await aborted(term.signal)) instanceof LeadershipLostError);
    await assert.rejects(term.proclaim('x'), LeadershipLostError);
  });
  await assert.rejects(leading, LeadershipLostError);
});

test('a name is used for one kind of thing', async () => {
  const client = await server.connect(PATIENT);
  await using _lock = await client.lock('kind').acquire();
  await assert.rejects(client.election('kind').campaign(), KindConflictError);
});
