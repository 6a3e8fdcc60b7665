// Everything that waits: it ends with the reason of its signal, and when the client is closed, and
// what is open does not keep the process.

import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { after, before, test } from 'node:test';

import { type Client, type Waiting } from 'handfast';
import { TestServer } from 'handfast/testing';

import { PATIENT, program, until } from './util.js';

let server: TestServer;
let hf: Client;
before(async () => {
  server = await TestServer.start();
  hf = await server.connect(PATIENT);
});
after(() => server.close());

/** Starts one wait of each kind under `prefix`, for what somebody else has or nobody makes. */
async function waits(client: Client, prefix: string, signal?: AbortSignal): Promise<Record<string, Promise<unknown>>> {
  const at = (name: string) => `${prefix}/${name}`;
  const options = { signal };
  const key = at('config');
  await hf.publish(key, 1);
  const config = await client.config(key);
  const found = await client.discover(at('service'));
  const [changes, events] = [config.changes(options), config.events(options)];
  await Promise.all([changes.next(), events.next()]);
  const observer = await client.election(at('election')).observe(options);
  await observer.next();
  const watch = await client.watch(at('watch'), options);
  return {
    lock: client.lock(at('lock')).acquire(options),
    use: client.lock(at('lock')).use(() => assert.fail('it is held'), options),
    locks: client.multiLock([at('lock'), at('free')]).acquire(options),
    campaign: client.election(at('lead')).campaign(options),
    lead: client.election(at('lead'), { again: true }).lead(() => assert.fail('another leads'), options),
    claim: client.queue(at('queue')).claim(options),
    items: client.queue(at('queue')).items(options).next(),
    once: client.once(at('once')).getOrRun(() => assert.fail('another works'), options),
    result: client.once(at('never')).wait(options),
    register: client.service(at('taken')).register('id', 'b:1', { waitMs: 3_600_000, ...options }),
    config: config.atLeast(2 ** 40, options),
    changes: changes.next(),
    // Nothing more comes; what came with the value in force was taken.
    events: (async () => {
      for (;;) await events.next();
    })(),
    found: found.atLeast(2 ** 40, options),
    pick: found.pickWhenReady(options),
    instances: found.changes(options).next(),
    observer: observer.next(),
    watch: watch.next(),
    states: client.session.states(options).next(),
  };
}

/** Has what the waits are for. */
async function hold(prefix: string): Promise<() => Promise<void>> {
  const lock = await hf.lock(`${prefix}/lock`).acquire();
  const term = await hf.election(`${prefix}/lead`).campaign();
  const registration = await hf.service(`${prefix}/taken`).register('id', 'a:1');
  let done!: (text: string) => void;
  const result = new Promise<string>((resolve) => (done = resolve));
  const work = hf.once(`${prefix}/once`).getOrRun(() => result);
  await until(async () => (await hf.range('', { prefix: true, keysOnly: true })).count > 0, 'something is held');
  return async () => {
    done('done');
    await Promise.all([work, lock.release(), term.resign(), registration.unregister()]);
  };
}

const pending = async (given: Promise<unknown>) => (await Promise.race([given, Promise.resolve(hold)])) === hold;

test('every wait ends with the reason of its signal, and leaves nothing behind', async () => {
  const release = await hold('aborted');
  const client = await server.connect(PATIENT);
  // Its session is there before its states are waited for.
  await (await client.lock('first').acquire()).release();
  const controller = new AbortController();
  const all = await waits(client, 'aborted', controller.signal);
  await until(async () => (await server.waiters('aborted/lock')) >= 2, 'they wait');
  for (const [name, wait] of Object.entries(all)) assert.ok(await pending(wait), `${name} waits`);
  const reason = new RangeError('enough');
  controller.abort(reason);
  for (const [name, wait] of Object.entries(all)) {
    await assert.rejects(wait, (error) => error === reason, name);
  }
  assert.equal(getEventListeners(controller.signal, 'abort').length, 0);
  await until(async () => (await server.waiters('aborted/lock')) === 0, 'nobody waits');
  const line = async () => (await hf.election('aborted/lead').candidates()).waiters.length;
  await until(async () => (await line()) === 0, 'nobody stands');
  await release();
  await client.close();
});

test('every wait ends when its client is closed', async () => {
  const release = await hold('closed');
  const client = await server.connect(PATIENT);
  await (await client.lock('first').acquire()).release();
  const all = await waits(client, 'closed');
  await until(async () => (await server.waiters('closed/lock')) >= 2, 'they wait');
  const ended = Promise.all(
    Object.entries(all).map(([name, wait]) => assert.rejects(wait, { code: 'CLOSED', name: 'ClosedError' }, name)),
  );
  await client.close();
  await ended;
  await until(async () => (await server.waiters('closed/lock')) === 0, 'nobody waits');
  await release();
});

test('a wait for one value can be given up, and the value comes with the next', async () => {
  const watch = await hf.watch('next');
  await assert.rejects(watch.next({ signal: AbortSignal.timeout(5) }), { name: 'TimeoutError' });
  for (let round = 0; round < 50; round += 1) {
    const controller = new AbortController();
    const given = watch.next({ signal: controller.signal }).catch(() => null);
    const put = hf.put('next', String(round));
    for (let turn = 0; turn < round % 8; turn += 1) await new Promise(setImmediate);
    controller.abort();
    const { value } = (await given) ?? (await watch.next());
    assert.equal(value?.pair.text, String(round));
    await put;
  }
  watch.close();
});

test('what is closed ends its iterations', async () => {
  await hf.publish('ends', 1);
  const config = await hf.config('ends');
  const found = await hf.discover('ends');
  const loops = [config, config.events(), found.changes()].map(async (values) => {
    for await (const _ of values);
  });
  config.close();
  found.close();
  await Promise.all(loops);
  assert.throws(() => found.list(), { code: 'CLOSED' });
});

test('who waits is told its place', async () => {
  const holder = await hf.lock('told').acquire();
  const places: Waiting[] = [];
  const waiting = hf.lock('told', { onWait: (place) => places.push(place) }).acquire();
  await until(() => places.length > 0, 'it is told');
  assert.deepEqual([places[0]?.name, places[0]?.position, places[0]?.holder?.token], ['told', 2, holder.token]);
  assert.equal((await hf.lock('told').holder())?.token, holder.token);
  await holder.release();
  const held = await waiting;
  assert.deepEqual([held.name, held.held], ['told', true]);
  const revision = await held.put('told/by', 'me');
  assert.equal((await hf.get('told/by'))?.modRevision, revision);
  await held.delete('told/by');
  await held.release();
  assert.equal(held.held, false);
});

test('a leader that is broken campaigns again, if it is to', async () => {
  const election = hf.election('again', { value: 'n1', again: true });
  const terms: number[] = [];
  const leading = election.lead(async (term) => {
    terms.push(term.token);
    if (terms.length === 2) return 'done';
    const broken = await hf.election('again').breakLeader('a test');
    assert.equal(broken?.token, term.token);
    await until(() => term.signal.aborted, 'it is told');
    throw term.signal.reason;
  });
  assert.equal(await leading, 'done');
  assert.ok((terms[1] ?? 0) > (terms[0] ?? 0));
});

test('the loss of another leadership is not made up for', async () => {
  let times = 0;
  const leading = hf.election('outer', { again: true }).lead(() =>
    hf.election('inner').lead(async (inner) => {
      assert.equal((times += 1), 1);
      await hf.election('inner').breakLeader('a test');
      await until(() => inner.signal.aborted, 'it is told');
      throw inner.signal.reason;
    }),
  );
  await assert.rejects(leading, { name: 'LeadershipLostError', message: /inner/ });
});

test('a process with something of each recipe open ends by itself, and leaves nothing', async () => {
  const ended = await program(`
    import { connect } from 'handfast';
    const hf = await connect(${JSON.stringify(server.endpoint)}, { beatMs: 60_000 });
    hf.beat();
    process.on('unhandledRejection', (error) => { console.log('unhandled', error); });
    await hf.lock('open/lock').acquire();
    await hf.multiLock(['open/a', 'open/b']).acquire();
    await hf.election('open/lead').campaign();
    const states = hf.session.states();
    const observer = await hf.election('open/lead').observe();
    await observer.next();
    await hf.queue('open/queue').push('x');
    const item = await hf.queue('open/queue').claim();
    await hf.service('open').register('n1', 'a:1');
    const found = await hf.discover('open');
    found.changes();
    await hf.publish('open/config', 1);
    const config = await hf.config('open/config');
    config.onChange(() => {});
    for await (const { value } of config) if (value === 1) break;
    config.events();
    await hf.watch('open/watch');
    await hf.lease(60_000);
    await hf.put('open/leased', 'x', { lease: await hf.lease(60_000) });
    console.log('done', states !== null, item.id !== '');`);
  assert.deepEqual(ended, { code: 0, signal: null, output: 'done true true\n' });
  assert.equal((await hf.lock('open/lock').line()).members.length, 0);
  assert.equal((await hf.election('open/lead').candidates()).members.length, 0);
  assert.deepEqual(await hf.service('open').list(), []);
  const item = await hf.queue('open/queue').claim();
  await item?.ack();
});
