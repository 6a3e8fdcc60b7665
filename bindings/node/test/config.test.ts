// Configurations: decoded, checked, followed, published and kept.

import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { ConfigRefusedError, PublishConflictError, type Client, type ConfigEvent } from 'handfast';
import { TestServer, testServer } from 'handfast/testing';

import { PATIENT, program, until } from './util.js';

let server: TestServer;
let hf: Client;
before(async () => {
  server = await TestServer.start();
  hf = await server.connect(PATIENT);
});
after(() => server.close());

test('a configuration is followed, and a bad one does not replace a good one', async () => {
  await assert.rejects(hf.config('app/none'), ConfigRefusedError);
  await hf.publish('app/cfg', { size: 1 }, { note: 'first' });
  const decode = (entries: ReadonlyMap<string, Buffer>): { size: number } => {
    const read = JSON.parse(String(entries.get(''))) as { size: number };
    if (read.size < 0) throw new RangeError('negative');
    return read;
  };
  await using config = await hf.config('app/cfg', { decode });
  assert.deepEqual(config.get(), { size: 1 });
  const changes = config.changes();
  assert.deepEqual((await changes.next()).value?.value, { size: 1 });
  const revision = await config.publish({ size: 2 });
  const { value: second } = await changes.next();
  assert.deepEqual([second?.value, second?.revision, second?.source], [{ size: 2 }, revision, 'server']);

  await hf.publish('app/cfg', { size: -1 });
  await until(() => config.problem !== null, 'it is refused');
  assert.match(String(config.problem?.error), /negative/);
  assert.deepEqual(config.get(), { size: 2 });
  await hf.publish('app/cfg', { size: 3 });
  assert.deepEqual((await changes.next()).value?.value, { size: 3 });
  assert.equal(config.problem, null);
  await assert.rejects(hf.publish('app/cfg', {}, { since: revision }), PublishConflictError);
});

test('a configuration of several keys changes at once, and has a default', async () => {
  const decode = (entries: ReadonlyMap<string, Buffer>): string =>
    [...entries].map(([name, value]) => `${name}=${String(value)}`).join(' ');
  await using config = await hf.config('many/', { prefix: true, decode, default: 'nothing' });
  assert.equal(config.get(), 'nothing');
  assert.equal(config.current().source, 'default');
  await hf.publish('many/', { a: 1, b: 2, c: undefined }, { prefix: true });
  for await (const { value } of config) {
    if (value === 'nothing') continue;
    assert.equal(value, 'a=1 b=2');
    break;
  }
});

test('without a decoder it is JSON, by name with a prefix; null deletes', async () => {
  await hf.publish('plain/', { a: 1, b: ['x'] }, { prefix: true });
  await using config = await hf.config<{ a?: number; b: string[] }>('plain/', { prefix: true });
  assert.deepEqual(config.get(), { a: 1, b: ['x'] });
  const revision = await config.publish({ a: null, b: ['y'] });
  await config.atLeast(revision);
  assert.deepEqual(config.get(), { b: ['y'] });
  await hf.publish('text', 'as: it is');
  assert.equal((await hf.get('text'))?.text, 'as: it is');
  await assert.rejects(hf.publish('plain/', 'x', { prefix: true }), TypeError);
  await assert.rejects(hf.publish('plain', undefined), TypeError);
});

test('what is published is in force after atLeast, or refused by decode or validate', async () => {
  await hf.publish('checked', 1);
  await using config = await hf.config<number>('checked', { validate: (value) => value < 10 });
  await config.atLeast(await hf.publish('checked', 2));
  assert.equal(config.get(), 2);
  await config.atLeast(await hf.publish('checked', 11));
  assert.deepEqual([config.get(), config.problem?.kind], [2, 'invalid']);
  await config.atLeast(await hf.publish('checked', '{'));
  assert.equal(config.problem?.kind, 'undecodable');
  await config.atLeast(await hf.publish('checked', 3));
  assert.deepEqual([config.get(), config.problem], [3, null]);
  assert.deepEqual(config.problems.map(({ kind }) => kind), ['invalid', 'undecodable']);
  // It would pass, and reject where nobody looks.
  const asynchronous = hf.config<number>('checked', { validate: async () => Promise.reject(new Error('no')) });
  await assert.rejects(asynchronous, /must not be async/);
  await assert.rejects(config.atLeast(2 ** 40, { signal: AbortSignal.timeout(5) }), { name: 'TimeoutError' });
});

test('callbacks come one after the other, whatever they throw, until they are stopped', async (t) => {
  const warnings: string[] = [];
  const warn = (warning: Error) => warnings.push(warning.message);
  process.on('warning', warn);
  t.after(() => process.off('warning', warn));
  await hf.publish('called', 1);
  await using config = await hf.config<number>('called');
  const called: number[] = [];
  const stop = config.onChange(async (value, { revision }) => {
    assert.ok(revision > 0);
    called.push(value);
    throw new Error('of the callback');
  });
  for (const value of [2, 3]) {
    await hf.publish('called', value);
    await until(() => called.at(-1) === value, 'it is called');
  }
  await until(() => warnings.filter((text) => text.includes('of the callback')).length === 2, 'it warns');
  stop();
  await config.atLeast(await hf.publish('called', 4));
  assert.deepEqual(called, [2, 3]);
});

test('events tell what is in force, refused and unheard of, and end with the configuration', async (t) => {
  const own = await testServer(t);
  const client = await own.connect(PATIENT);
  await client.publish('app/', { a: 1 }, { prefix: true });
  const config = await client.config<object>('app/', { prefix: true });
  const events = config.events();
  const seen: unknown[] = [];
  const next = async (): Promise<ConfigEvent<object>['kind']> => {
    const { value } = await events.next();
    assert.ok(value);
    if (value.kind === 'applied') seen.push([value.current.value, value.names]);
    if (value.kind === 'problem') seen.push(value.problem.kind);
    return value.kind;
  };
  const kinds = async (kind: string) => {
    while ((await next()) !== kind);
  };
  await kinds('applied');
  await client.publish('app/', { b: 2 }, { prefix: true });
  await kinds('applied');
  await client.put('app/b', '{');
  await kinds('problem');
  assert.deepEqual(seen, [[{ a: 1 }, ['a']], [{ a: 1, b: 2 }, ['b']], 'undecodable']);
  await own.stop();
  await kinds('disconnected');
  assert.ok(config.staleForMs >= 0);
  await own.restart();
  await kinds('connected');
  const waiting = events.next();
  const never = assert.rejects(config.atLeast(2 ** 40), { code: 'CLOSED' });
  config.close();
  assert.deepEqual(await waiting, { done: true, value: undefined });
  await never;
  assert.throws(() => config.get(), { code: 'CLOSED' });
});

test('a snapshot is there once it is saved, and its problems are told', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'handfast-snapshot-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const snapshotFile = join(folder, 'app.json');
  await hf.publish('kept', 1);
  await using config = await hf.config<number>('kept', { snapshotFile });
  await config.saved();
  assert.ok(existsSync(snapshotFile));
  const before = readFileSync(snapshotFile, 'utf8');
  await config.atLeast(await hf.publish('kept', 2));
  await config.saved();
  assert.notEqual(readFileSync(snapshotFile, 'utf8'), before);
  await using other = await hf.config<number>('kept', { snapshotFile: join(folder, 'none', 'app.json') });
  await until(() => other.problems.length > 0, 'it cannot be written');
  assert.deepEqual([other.problems[0]?.kind, other.get()], ['snapshot_not_written', 2]);
});

test('who published is known, and when', async () => {
  assert.equal(await hf.publication('by'), null);
  const revision = await hf.publish('by', 1, { note: 'to begin with' });
  await hf.publish('by', 2);
  const [first, last] = [await hf.publication('by', { revision }), await hf.publication('by')];
  assert.deepEqual([first?.note, first?.revision, last?.note], ['to begin with', revision, '']);
  assert.ok(first && first.by !== '' && first.time.getTime() <= Date.now());
});

test('a callback does not keep the process open', async () => {
  const ended = await program(`
    import { connect } from 'handfast';
    const hf = await connect(${JSON.stringify(server.endpoint)});
    const config = await hf.config('none', { default: 1 });
    config.onChange(() => {});
    console.log('done');`);
  assert.deepEqual(ended, { code: 0, signal: null, output: 'done\n' });
});
