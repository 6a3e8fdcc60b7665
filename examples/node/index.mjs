// An index that is built once, by whoever leads, and shared by all.
//
// Run it: `node index.mjs` starts a server of its own; `node index.mjs ENDPOINT` uses another one.
//
// Three nodes stand for election. Whoever leads builds the index, unless there is one; the leaders
// after it find it built. A reader gets the same result without leading.

import { Server, connect } from 'handfast';

const NODES = ['n1', 'n2', 'n3'];
const DOCUMENTS = { one: 'lock and lease', two: 'lease and watch' };
// Of other documents there is another index.
const INPUT = JSON.stringify(DOCUMENTS);

/** The expensive part, to be given up when somebody else may do it. */
async function build(held) {
  const words = new Map();
  for (const [name, text] of Object.entries(DOCUMENTS)) {
    held.signal.throwIfAborted();
    for (const word of text.split(' ')) words.set(word, [...(words.get(word) ?? []), name]);
  }
  return [...words.keys()].sort().map((word) => `${word}:${words.get(word)}`).join(';');
}

/** Leads once; whether this node has built the index. */
async function node(endpoint, name) {
  const hf = await connect(endpoint, { appName: name });
  const built = await hf.election('indexer', { value: name }).lead(async (term) => {
    const { ran } = await hf.once('index', { input: INPUT }).getOrRun(build);
    // The store refuses this when another one leads by now.
    await term.put('index.by', name);
    return ran;
  });
  await hf.close();
  return built;
}

async function main(endpoint) {
  const built = await Promise.all(NODES.map((name) => node(endpoint, name)));
  console.log(`${built.length} led, ${built.filter(Boolean).length} built the index`);
  const reader = await connect(endpoint);
  const index = await reader.once('index', { input: INPUT }).get();
  for (const line of index.value.toString().split(';')) console.log(line);
  await reader.close();
}

const given = process.argv[2];
const server = given === undefined ? await Server.start() : null;
await main(given ?? server.endpoint);
await server?.close();
