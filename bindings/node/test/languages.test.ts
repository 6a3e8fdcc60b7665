// One lock for programs of all kinds: Python holds, Node and etcdctl wait, and the command looks on.
// It needs the package for Python, handfast, etcd and etcdctl, and fails without one of them.

import assert from 'node:assert/strict';
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';

import { connect } from 'handfast';
import { testServer } from 'handfast/testing';

import { PACKAGE, until } from './util.js';

const TARGET = join(PACKAGE, '..', '..', 'target');
const PYTHON = join(TARGET, 'venv', 'bin', 'python');
const HANDFAST = join(TARGET, 'debug', 'handfast');
const HOLDER = `
import sys, handfast
with handfast.connect(sys.argv[1], app="python") as hf:
    with hf.lock("shared") as held:
        print(held.token, flush=True)
        sys.stdin.readline()
`;

/** A program that has its say while it holds, and goes on when its input ends. */
class Program {
  output = '';
  readonly #child: ChildProcess;
  readonly ended: Promise<number | null>;

  constructor(t: TestContext, file: string, ...args: string[]) {
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    child.stdout.on('data', (data: Buffer) => (this.output += data.toString()));
    this.ended = new Promise((resolve, reject) => {
      child.on('close', resolve);
      child.on('error', reject);
    });
    this.ended.catch(() => undefined);
    this.#child = child;
    t.after(() => child.kill('SIGKILL'));
  }

  /** As Ctrl-C does; `etcdctl lock` without a command holds until then. */
  interrupt(): void {
    this.#child.kill('SIGINT');
  }

  async goOn(): Promise<void> {
    this.#child.stdin?.end('\n');
    assert.equal(await this.ended, 0);
  }
}

/** A real etcd on free ports. */
async function etcd(t: TestContext): Promise<string> {
  const [client, peer] = await Promise.all([freePort(), freePort()]);
  const folder = mkdtempSync(join(tmpdir(), 'handfast-etcd-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const [endpoint, peers] = [`http://127.0.0.1:${client}`, `http://127.0.0.1:${peer}`];
  const member = ['--initial-cluster', `default=${peers}`, '--initial-advertise-peer-urls', peers];
  const urls = ['--listen-client-urls', endpoint, '--advertise-client-urls', endpoint, '--listen-peer-urls', peers];
  const args = ['--data-dir', folder, '--log-level', 'error', ...member, ...urls];
  const running = spawn('etcd', args, { stdio: 'ignore' });
  const failed = new Promise<never>((_, reject) => running.on('error', reject));
  t.after(() => running.kill('SIGKILL'));
  await using hf = await connect(endpoint);
  const answers = () => hf.get('k').then(() => true, () => false);
  await Promise.race([until(answers, 'etcd answers'), failed]);
  return endpoint;
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

async function story(t: TestContext, endpoint: string): Promise<void> {
  await using hf = await connect(endpoint, { appName: 'node' });
  const lock = hf.lock('shared');
  const inLine = (count: number) =>
    until(async () => (await lock.line()).members.length === count, `${count} in line`);

  const python = new Program(t, PYTHON, '-c', HOLDER, endpoint);
  await Promise.race([until(() => python.output !== '', 'Python holds'), python.ended]);
  const first = Number(python.output);
  assert.ok(first > 0, 'the package for Python is missing');

  let granted = false;
  const waiting = lock.acquire().finally(() => (granted = true));
  await inLine(2);
  const asked = ['--endpoints', endpoint, 'lock', 'shared'];
  const etcdctl = new Program(t, 'etcdctl', ...asked);
  await inLine(3);

  const seen = await promisify(execFile)(HANDFAST, ['--endpoints', endpoint, 'locks', '--json']);
  assert.match(seen.stdout, /shared/);
  assert.match(seen.stdout, /python/);
  assert.deepEqual([granted, etcdctl.output], [false, '']);

  await python.goOn();
  const held = await waiting;
  assert.ok(held.token > first, `${held.token} after ${first}`);
  await held.put('proof', 'node');
  assert.equal(etcdctl.output, '');

  await held.release();
  await until(() => etcdctl.output !== '', 'etcdctl holds');
  const { members } = await lock.line();
  assert.equal(members.length, 1);
  assert.ok((members[0]?.token ?? 0) > held.token);
  assert.equal(await lock.tryAcquire(), null);
  etcdctl.interrupt();
  await inLine(0);
}

test('programs of all kinds take turns on handfast', async (t) => {
  await story(t, (await testServer(t)).endpoint);
});

test('programs of all kinds take turns on etcd', async (t) => {
  await story(t, await etcd(t));
});
