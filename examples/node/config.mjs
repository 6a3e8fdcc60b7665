// Configuration that is published once and in force everywhere, decoded and checked.
//
// Run it: `node config.mjs` starts a server of its own; `node config.mjs ENDPOINT` uses another
// one.
//
// Programs follow the same key. Each takes over what it accepts: a value of the wrong type, or one
// that the check refuses, leaves the one before it in force.

import { EventEmitter, once } from 'node:events';

import { PublishConflictError, Server, connect } from 'handfast';

const KEY = 'app/limits';

/** No program runs with what this refuses. */
function validate(limits) {
  if (!Number.isInteger(limits.requests)) throw new TypeError('requests is not a number');
  if (limits.requests > 1000) throw new RangeError('that is more than one machine can do');
}

/** A program that follows the configuration. */
async function start(endpoint, name) {
  const hf = await connect(endpoint, { appName: name });
  return { hf, name, config: await hf.config(KEY, { validate }) };
}

/** What a program has in force in the end. */
async function ended({ hf, name, config }, last) {
  for await (const { value } of config) {
    if (value.requests !== last) continue;
    await hf.close();
    return `${name}: ${value.requests} requests at ${value.hosts.length} hosts`;
  }
  throw new Error(`${name} was told no more`);
}

/** A console, which hears of what is refused as well. */
async function follow(hf, news) {
  const config = await hf.config(KEY, { validate });
  const events = config.events();
  // The first one is what is in force already.
  await events.next();
  const telling = (async () => {
    for await (const event of events) {
      if (event.kind === 'applied') news.emit('told', '');
      if (event.kind === 'problem') news.emit('told', `, refused: ${event.problem.error.message}`);
    }
  })();
  const stop = async () => {
    events.close();
    await telling;
  };
  return { config, stop };
}

async function main(endpoint) {
  const hf = await connect(endpoint, { appName: 'console' });
  const first = await hf.publish(KEY, { requests: 100, hosts: ['a'] }, { note: 'to begin with' });
  const programs = await Promise.all(['web', 'batch'].map((name) => start(endpoint, name)));

  const news = new EventEmitter();
  const { config, stop } = await follow(hf, news);
  for (const value of [{ requests: 200, hosts: ['a', 'b'] }, { requests: 'many' }, { requests: 5000, hosts: [] }]) {
    const told = once(news, 'told');
    await hf.publish(KEY, value);
    const [refused] = await told;
    console.log(`in force: ${config.get().requests}${refused}`);
  }
  await stop();

  // What was begun before that is not published on top of it.
  await hf.publish(KEY, { requests: 1, hosts: [] }, { since: first }).catch((error) => {
    if (!(error instanceof PublishConflictError)) throw error;
    console.log('somebody else has published since');
  });
  await hf.publish(KEY, { requests: 300, hosts: ['a', 'b', 'c'] }, { note: 'the real thing' });
  for (const program of programs) console.log(await ended(program, 300));
  await hf.close();
}

const given = process.argv[2];
const server = given === undefined ? await Server.start() : null;
await main(given ?? server.endpoint);
await server?.close();
