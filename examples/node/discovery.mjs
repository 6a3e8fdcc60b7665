// Services find each other: registered with a session, picked with load balancing.
//
// Run it: `node discovery.mjs` starts a server of its own; `node discovery.mjs ENDPOINT` uses
// another one.
//
// Three backends register. A client spreads its calls over them, keeps the calls of one user at
// one backend, and leaves out the one that is drained. A backend that leaves is gone at once.

import { Server, connect } from 'handfast';

const SERVICE = 'api';

/** Stands for a call over the network, and tells how it went. */
function call(picked) {
  picked.report(true);
  return picked.instance.id;
}

/** Where so many calls went, each name once. */
function backends(api, calls, how) {
  const ids = Array.from({ length: calls }, () => call(api.pick(how)));
  return [...new Set(ids)].sort();
}

async function main(endpoint) {
  const [owner, hf] = await Promise.all([connect(endpoint), connect(endpoint)]);
  const registrations = {};
  for (const [index, name] of ['n1', 'n2', 'n3'].entries()) {
    const weight = index + 1;
    registrations[name] = await owner.service(SERVICE).register(name, `10.0.0.${weight}:80`, { weight });
  }
  const api = await hf.discover(SERVICE);
  const changes = api.changes();
  console.log('listed:', ...api.list().instances.map(({ id, addr }) => `${id}=${addr}`));

  const spread = { n1: 0, n2: 0, n3: 0 };
  for (let calls = 0; calls < 60; calls += 1) spread[call(api.pick({ by: 'weighted' }))] += 1;
  console.log('by weight:', ...Object.entries(spread).map(([name, calls]) => `${name}=${calls}`));
  console.log('backends of user 7:', backends(api, 10, { by: 'hash', key: 'user 7' }).length);

  // Once this client knows of the change it calls n1 no more.
  await api.atLeast(await registrations.n1.update({ status: 'draining' }));
  console.log('n1 drains, calls go to:', ...backends(api, 10, { by: 'round_robin' }));

  await registrations.n2.unregister();
  for await (const { kind, instance } of changes) {
    console.log(instance.id, kind);
    if (kind === 'left') break;
  }
  console.log('still there:', api.pick().addr);
  await Promise.all([hf.close(), owner.close()]);
}

const given = process.argv[2];
const server = given === undefined ? await Server.start() : null;
await main(given ?? server.endpoint);
await server?.close();
