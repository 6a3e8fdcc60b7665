// The verbs of queues, services, configurations and work that is done once.

import assert from 'node:assert/strict';
import { join } from 'node:path';

import { op, type Config, type Queue } from 'handfast';

import { ms } from './locks.js';
import { Own, type Json, type Player, type Verb, type Work } from './player.js';

function queue(play: Player, step: Json): Queue {
  return play.client(step).queue(step.name);
}

function claim(play: Player, step: Json, { signal }: Work) {
  const { max_attempts, timeout } = step;
  return queue(play, step).claim({ maxAttempts: max_attempts, timeoutMs: ms(timeout), signal });
}

async function process(play: Player, step: Json, work: Work): Promise<void> {
  const item = await claim(play, step, work);
  assert.ok(item);
  await item.use((held) => work.body(step.body ?? 'stay', held), { signal: work.signal });
}

const writes = (put: Json = {}) => Object.entries<string>(put).map(([key, value]) => op.put(key, value));

export const QUEUES: Readonly<Record<string, Verb>> = {
  push: (play, { id, after, gate, opens, ...step }, { signal }) =>
    queue(play, step).push(step.payload, { id, after, gate, opens, signal }),
  claim,
  ack: (play, { on, put }) => play.known(on).ack(writes(put)),
  ack_and_next: async (play, { on, put }, { signal }) =>
    (await play.known(on).ackAndNext(writes(put), { signal })).next,
  nack: (play, { on, why }) => play.known(on).nack(why),
  process,
  control: (play, step) => queue(play, step).control(step.word),
  wait_for: (play, { count, gate, start, ...step }) => queue(play, step).condition({ count, gate, start }),
  open_gate: (play, step) => queue(play, step).openGate(step.gate),
  items: async (play, step) => {
    const items = await queue(play, step).list();
    return items.filter(({ state }) => state !== 'dead').map(({ id }) => id);
  },
  why: async (play, step) => {
    const { reasons } = await queue(play, step).why(step.id);
    // Whether a worker waits just now is of no interest here.
    return reasons.map(({ code }) => code).filter((code) => code !== 'no_worker');
  },
  dead: async (play, step) => (await queue(play, step).dead()).map(({ id }) => id),
  retry: (play, step) => queue(play, step).retry(step.id),
};

const ids = (found: Iterable<{ id: string }>) => Array.from(found, ({ id }) => id);

export const SERVICES: Readonly<Record<string, Verb>> = {
  register: (play, { id, addr, weight, status, ...step }, { signal }) =>
    play.client(step).service(step.name).register(id, addr, { weight, status, signal }),
  unregister: (play, { on }) => play.known(on).unregister(),
  update: (play, { on, weight, status }) => play.known(on).update({ weight, status }),
  registered: (play, { on }) => play.known(on).state.code,
  listed: async (play, step) => ids(await play.client(step).service(step.name).list()),
  set_status: (play, { id, status, ...step }) => play.client(step).service(step.name).setStatus(id, status),
  discover: (play, step) => play.client(step).discover(step.name),
  found: (play, { on }) => ids(play.known(on).list()),
  at_least: (play, { on, revision }, { signal }) => play.known(on).atLeast(revision, { signal }),
  changes: (play, { on }) => play.known(on).changes(),
  pick: (play, { on, way, key }) => play.known(on).pick({ by: way, key }).addr,
  stale: (play, { on }) => play.known(on).list().staleForMs > 0,
};

/** What the program accepts. */
function validate(value: Json, { type, at_most = Infinity }: Json): void {
  if (type === 'int' && !Number.isInteger(value)) throw new TypeError('no whole number');
  if (type === 'strings' && !Array.isArray(value)) throw new TypeError('no list of texts');
  if (value > at_most) throw new RangeError('too much');
}

function onChange(config: Config<Json>, throws: boolean): Json[] {
  const calls: Json[] = [];
  config.onChange((value) => {
    calls.push(value);
    if (throws) throw new Own('of the callback');
  });
  return calls;
}

export const CONFIGS: Readonly<Record<string, Verb>> = {
  publish: (play, step, { signal }) =>
    play.client(step).publish(step.key, step.value, { prefix: step.prefix, since: step.unchanged_since, signal }),
  config: (play, step, { signal }) => {
    const { key, prefix, snapshot } = step;
    const snapshotFile = snapshot === undefined ? undefined : join(play.folder, snapshot);
    const accept = (value: Json) => validate(value, step);
    const options = { prefix, default: step.default, snapshotFile, validate: accept, signal };
    return play.client(step).config<Json>(key, options);
  },
  value: (play, { on }) => play.known(on).get(),
  source: (play, { on }) => play.known(on).current().source,
  refused: (play, { on }) => play.known(on).problem?.kind ?? null,
  saved: (play, { on }, { signal }) => play.known(on).saved({ signal }),
  on_change: (play, { on, throws = false }) => onChange(play.known(on), throws),
  called: (play, { on }) => [...play.known(on)],
  once: async (play, { name, input, timeout, result = '', body, ...step }, work) => {
    const once = play.client(step).once(name, { input, timeoutMs: ms(timeout) });
    const done = await once.getOrRun(
      async (held) => {
        await work.body(body, held);
        return result;
      },
      { signal: work.signal },
    );
    return { ran: done.ran, text: done.text };
  },
  once_result: async (play, { name, input, ...step }) =>
    (await play.client(step).once(name, { input }).get())?.text ?? null,
};
