// Cluster monitoring: a node goes, and whoever watches is told how.
//
// Run it: `node monitor.mjs` starts a server of its own and three nodes; `node monitor.mjs
// ENDPOINT` uses another server.
//
// Each node is a process that registers. One of them leaves in order, one is killed: its session
// ends after its TTL, and the watcher learns that it died.

import { spawn } from 'node:child_process';
import { finished } from 'node:stream/promises';

import { Server, connect } from 'handfast';

const SERVICE = 'nodes';
const TTL_MS = 2_000;

/** A node: is there until standard input ends. */
async function node(endpoint, name) {
  const hf = await connect(endpoint, { appName: name, ttlMs: TTL_MS });
  const registration = await hf.service(SERVICE).register(name, `${name}:80`, { zone: 'a' });
  await finished(process.stdin.resume());
  await registration.unregister();
  await hf.close();
}

function start(endpoint, name) {
  const stdio = ['pipe', 'ignore', 'inherit'];
  return spawn(process.execPath, [import.meta.filename, endpoint, name], { stdio });
}

async function main(endpoint) {
  const hf = await connect(endpoint);
  // With so few nodes every death is believed at once.
  const nodes = await hf.discover(SERVICE, { guardMs: 0 });
  const changes = nodes.changes();
  const tell = async () => {
    const { value: change } = await changes.next();
    console.log(change.instance.id, change.kind);
  };
  const processes = {};
  try {
    for (const name of ['n1', 'n2', 'n3']) {
      processes[name] = start(endpoint, name);
      await tell();
    }
    processes.n1.stdin.end();
    await tell();
    processes.n2.kill('SIGKILL');
    await tell();
    console.log('left over:', ...nodes.list().instances.map(({ id }) => id));
  } finally {
    for (const started of Object.values(processes)) started.kill('SIGKILL');
  }
  await hf.close();
}

const [endpoint, name] = process.argv.slice(2);
if (name !== undefined) {
  await node(endpoint, name);
} else {
  const server = endpoint === undefined ? await Server.start() : null;
  await main(endpoint ?? server.endpoint);
  await server?.close();
}
