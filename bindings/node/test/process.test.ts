// The process around it: its end, its threads, its signals, its logs.

import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { Server, connect, setLogSink, type LogRecord } from 'handfast';
import { TestServer } from 'handfast/testing';

import { PACKAGE, node, program, until } from './util.js';

let server: TestServer;
before(async () => {
  server = await TestServer.start();
});
after(() => server.close());

const CONNECT = () => `
  import { connect, setLogSink } from 'handfast';
  const hf = await connect(${JSON.stringify(server.endpoint)});`;

test('a process with a lock, a watch and listeners exits by itself, and its lock is free', async () => {
  const ended = await program(`${CONNECT()}
    setLogSink(() => {});
    hf.session.on('state', () => {});
    const lock = await hf.lock('exits').acquire();
    lock.signal.addEventListener('abort', () => {});
    await hf.watch('w');
    await hf.lease(60_000);
    console.log('done');`);
  assert.deepEqual(ended, { code: 0, signal: null, output: 'done\n' });
  assert.equal((await server.connect().then((hf) => hf.lock('exits').line())).members.length, 0);
});

test('servers in a process end with it, and take their data along', async () => {
  const ended = await program(`
    import { Server } from 'handfast';
    import { TestServer } from 'handfast/testing';
    console.log((await TestServer.start()).dataDir);
    console.log((await Server.start()).dataDir);`);
  assert.equal(ended.code, 0, ended.output);
  const folders = ended.output.trim().split('\n');
  assert.equal(folders.length, 2);
  for (const folder of folders) assert.equal(existsSync(folder), false, folder);
});

test('an uncaught error ends the process at once, and frees its lock', async () => {
  const ended = await program(`${CONNECT()}
    await hf.lock('uncaught').acquire();
    throw new Error('mine');`);
  assert.equal(ended.code, 1);
  assert.match(ended.output, /mine/);
  assert.ok(await (await server.connect()).tryLock('uncaught'));
});

test('worker threads connect, lock and end, one after the other', async () => {
  const ended = await program(`
    import { Worker } from 'node:worker_threads';
    import { connect } from 'handfast';
    const work = \`
      import('handfast').then(async ({ connect }) => {
        const hf = await connect(${JSON.stringify(server.endpoint)});
        const lock = await hf.lock('worker').acquire();
        if (${'process.argv.length'} > 0) await lock.release();
        await hf.lock('left').acquire();
        hf.lock('left').acquire().catch(() => {});
        setTimeout(() => process.exit(0), 20);
      });\`;
    for (let round = 0; round < 3; round += 1) {
      const worker = new Worker(work, { eval: true });
      const code = await new Promise((resolve) => worker.on('exit', resolve));
      console.log('worker', code);
    }
    const hf = await connect(${JSON.stringify(server.endpoint)});
    await hf.lock('worker').use(() => console.log('main'));`);
  assert.equal(ended.output, 'worker 0\nworker 0\nworker 0\nmain\n');
  assert.equal(ended.code, 0);
});

test('a process stays open while a promise is pending, and not longer', async () => {
  const ended = await program(`${CONNECT()}
    const held = await hf.lock('pending').acquire();
    await hf.lock('pending', { timeoutMs: 100 }).acquire().catch(({ code }) => console.log(code));
    hf.lock('pending').acquire().then((next) => next.release()).then(() => console.log('done'));
    await held.release();`);
  assert.deepEqual(ended, { code: 0, signal: null, output: 'TIMEOUT\ndone\n' });
});

test('many promises are settled, whatever those that await them do', async () => {
  const ended = await program(`${CONNECT()}
    process.on('uncaughtException', ({ message }) => console.log('uncaught', message));
    const many = Array.from({ length: 200 }, async (_, number) => {
      await hf.put('many/' + number, 'x');
      if (number === 7) queueMicrotask(() => { throw new Error('mine'); });
      if (number % 50 === 0) throw new Error('mine too');
      return (await hf.get('many/' + number)).text;
    });
    const done = await Promise.allSettled(many);
    console.log(done.filter(({ value }) => value === 'x').length);`);
  assert.deepEqual(ended, { code: 0, signal: null, output: 'uncaught mine\n196\n' });
});

test('threads are ended in the midst of calls', async () => {
  const ended = await program(`${CONNECT()}
    import { once } from 'node:events';
    import { Worker } from 'node:worker_threads';
    const work = \`
      import { parentPort } from 'node:worker_threads';
      import { connect } from 'handfast';
      const hf = await connect(${JSON.stringify(server.endpoint)});
      for (;;) {
        await Promise.all(Array.from({ length: 50 }, () => hf.get('k')));
        parentPort.postMessage('calls');
      }\`;
    for (let round = 0; round < 3; round += 1) {
      const worker = new Worker(work, { eval: true });
      await once(worker, 'message');
      console.log('worker', await worker.terminate());
    }
    console.log(await hf.get('k'));`);
  assert.deepEqual(ended, { code: 0, signal: null, output: 'worker 1\nworker 1\nworker 1\nnull\n' });
});

test('the command line runs in Node, and SIGINT and SIGTERM stop a server in order', async () => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    let sent = false;
    const cli = ['bin/handfast.mjs', 'serve', '--ephemeral', '--listen-client-urls', 'http://127.0.0.1:0', '--advertise-client-urls', 'http://127.0.0.1:0'];
    const ended = await node(cli, {}, (output, kill) => {
      if (!sent && output.includes('ready to serve')) {
        sent = true;
        kill(signal);
      }
    });
    assert.deepEqual([ended.code, ended.signal], [0, null], ended.output);
    assert.match(ended.output, /stopped/);
  }
  const endpoint = ['--endpoints', server.endpoint];
  const put = await node(['bin/handfast.mjs', ...endpoint, 'put', 'cli', 'hello']);
  assert.equal(put.code, 0, put.output);
  const usage = await node(['bin/handfast.mjs', 'no-such-command']);
  assert.equal(usage.code, 2);
});

test('SIGINT ends a client command that does not wait for it', async () => {
  let sent = false;
  const cli = ['bin/handfast.mjs', '--endpoints', server.endpoint, 'watch', 'watched'];
  const hf = await server.connect();
  const writing = setInterval(() => void hf.put('watched', 'x').catch(() => undefined), 50);
  const ended = await node(cli, {}, (output, kill) => {
    if (!sent && output.includes('watched')) {
      sent = true;
      kill('SIGINT');
    }
  });
  clearInterval(writing);
  assert.ok(ended.signal === 'SIGINT' || ended.code !== null, ended.output);
});

test('an embedded server serves, keeps its data and stops', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'handfast-embedded-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const running = await Server.start({ dataDir: folder, name: 'n1' });
  const hf = await connect(running.endpoint);
  await hf.put('k', 'v');
  await hf.close();
  await running.close();
  await running.close();
  const again = await Server.start({ dataDir: folder });
  const client = await connect(again.endpoint);
  assert.equal((await client.get('k'))?.text, 'v');
  await assert.rejects(Server.start({ dataDir: folder }));
  await client.close();
  await again.close();
});

test('log records come, and a sink that throws hurts nobody', async () => {
  const records: LogRecord[] = [];
  assert.equal(
    setLogSink((record) => records.push(record), 'info'),
    true,
  );
  const hf = await server.connect();
  const lock = await hf.lock('logged').acquire();
  await server.expire(lock);
  await until(() => records.some(({ message }) => message.startsWith('session ended')), 'a record');
  assert.ok(records.every(({ target, time }) => target.startsWith('handfast.') && time instanceof Date));
  const warnings: string[] = [];
  process.on('warning', (warning) => warnings.push(String(warning)));
  setLogSink(() => {
    throw new Error('the sink is broken');
  });
  await server.expire(await hf.lock('logged').acquire());
  await until(() => warnings.some((text) => text.includes('the sink is broken')), 'a warning');
  assert.equal(setLogSink(null), true);
  assert.throws(() => setLogSink(() => undefined, 'loud' as never), { code: 'INVALID_ARGUMENT' });
});

test('a listener that throws is an uncaught error, as with every emitter', async () => {
  const ended = await program(`${CONNECT()}
    process.on('uncaughtException', (error) => { console.log('caught', error.message); process.exit(5); });
    hf.session.on('state', () => { throw new Error('mine'); });
    await hf.lock('listener').acquire();
    await new Promise((resolve) => setTimeout(resolve, 20_000));`);
  assert.equal(ended.output, 'caught mine\n');
  assert.equal(ended.code, 5);
});

test('require gives what import gives', async () => {
  const ended = await node(['-e', `
    const { connect, HandfastError } = require('handfast');
    import('handfast').then((other) => console.log(other.connect === connect && HandfastError === other.HandfastError));`]);
  assert.match(ended.output, /^true$/m);
  assert.ok(PACKAGE.length > 0);
});
