// Tries the packages out as a user gets them: installs them into an empty folder, compiles strict
// consumers there, and runs a server with npx and programs against it.
//
//     node scripts/packed.mjs [FOLDER]
//
// FOLDER has the archives; without it they are made of what is built.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import process from 'node:process';

import { here } from './platforms.mjs';

const folder = mkdtempSync(join(tmpdir(), 'handfast-packed-'));

function run(program, args, cwd = folder) {
  return execFileSync(program, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
}

/** Starts a server with npx, and stops it as Ctrl-C in a terminal does. */
async function served(work) {
  const urls = ['--listen-client-urls', 'http://127.0.0.1:0', '--advertise-client-urls', 'http://127.0.0.1:0'];
  const server = spawn('npx', ['handfast', 'serve', '--ephemeral', ...urls], {
    cwd: folder,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const ended = new Promise((resolve) => server.on('close', resolve));
  const ready = new Promise((resolve, reject) => {
    for (const stream of [server.stdout, server.stderr]) {
      stream.on('data', (data) => {
        output += data;
        const found = /ready to serve client requests.*endpoint="?(http:\/\/[\d.:]+)/.exec(output);
        if (found) resolve(found[1]);
      });
    }
    ended.then(() => reject(new Error(`the server ended: ${output}`)));
  });
  try {
    await work(await ready);
  } finally {
    // The whole group, as a terminal does.
    process.kill(-server.pid, 'SIGINT');
    await ended;
  }
  assert.match(output, /SIGINT: stopping/);
  assert.match(output, /stopped$/m);
}

try {
  let from = process.argv[2];
  if (from === undefined) {
    from = join(folder, 'archives');
    run(process.execPath, [join(here, 'scripts', 'packages.mjs'), '--quick', from]);
  }
  const packed = readdirSync(from).filter((name) => name.endsWith('.tgz')).map((name) => resolve(from, name));
  assert.equal(packed.length, 2);

  writeFileSync(join(folder, 'package.json'), '{ "name": "consumer", "private": true, "version": "1.0.0" }');
  run('npm', ['install', '--silent', '--offline', '--no-audit', '--no-fund', ...packed]);

  cpSync(join(here, 'test', 'consumer'), folder, { recursive: true });
  const tsc = join(here, 'node_modules', 'typescript', 'bin', 'tsc');
  const types = join(here, 'node_modules', '@types');
  for (const settings of ['tsconfig.json', 'tsconfig.node16.json', 'tsconfig.bundler.json']) {
    run(process.execPath, [tsc, '-p', settings, '--typeRoots', types]);
  }

  await served(async (endpoint) => {
    for (const program of ['esm.mjs', 'cjs.cjs']) {
      const printed = run(process.execPath, [program, endpoint]);
      assert.equal(printed, 'held\n', program);
    }
    const handfast = (...args) => run('npx', ['handfast', '--endpoints', endpoint, ...args]);
    assert.equal(handfast('get', 'by-esm', '--print-value-only'), 'x\n');
    // What the command starts has its outputs, although Node keeps them from what it starts.
    assert.equal(handfast('lock', 'by-npx', '--', 'echo', 'held'), 'held\n');
  });
  console.log('the packages install, compile, serve and run');
} finally {
  rmSync(folder, { recursive: true, force: true });
}
