// The verbs of server, clients, tasks, keys, locks and elections.

import assert from 'node:assert/strict';

import {
  LockLostError,
  Leadership,
  type Client,
  type Election,
  type Lock,
  type Waiting,
  type Watch,
} from 'handfast';

import { aborted } from '../util.js';
import { later, type Json, type Player, type Verb } from './player.js';

/** Seconds of the data, in what the API takes. */
export function ms(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : seconds * 1000;
}

/** How the step waits and holds; what it is told goes to the list that it names. */
function waiting(play: Player, { timeout, max_hold, tells }: Json) {
  const options = { timeoutMs: ms(timeout), maxHoldMs: ms(max_hold) };
  if (tells === undefined) return options;
  const told: Waiting[] = [];
  play.name(tells, told);
  return { ...options, onWait: (place: Waiting) => void told.push(place) };
}

function told(play: Player, { on }: Json): Json {
  const last: Waiting | undefined = play.known(on).at(-1);
  return last === undefined ? null : [last.name, last.position, last.holder?.token ?? null];
}

function lock(play: Player, { client, name, ...step }: Json): Lock {
  return play.client({ client }).lock(name, waiting(play, step));
}

function election(play: Player, { client, name, value, again, ...step }: Json): Election {
  return play.client({ client }).election(name, { value, again, ...waiting(play, step) });
}

function task(play: Player, step: Json) {
  const work = play.tasks.get(step.task);
  assert.ok(work, `no task ${step.task}`);
  return work;
}

async function expire(play: Player, step: Json): Promise<void> {
  const { lease } = play.client(step).session;
  assert.ok(lease !== null && (await play.server.expire(lease)), 'there is no session');
}

async function compact(play: Player): Promise<void> {
  const client = await play.server.connect();
  const { revision } = await client.range('k', { limit: 1 });
  await client.compact(revision);
}

/** The number of changes, if they came in order and once. */
async function take(watch: Watch, count: number): Promise<number> {
  let last = 0;
  for (let number = 0; number < count; number += 1) {
    const { value } = await watch.next();
    if (value === undefined || value.pair.modRevision <= last) return 0;
    last = value.pair.modRevision;
  }
  return count;
}

async function putMany(client: Client, { prefix, count }: Json): Promise<void> {
  for (let number = 1; number <= count; number += 1) await client.put(`${prefix}${number}`, 'v');
}

async function crowd(play: Player, step: Json, signal: AbortSignal): Promise<number> {
  let [holders, done] = [0, 0];
  const one = () =>
    lock(play, step).use(
      async () => {
        holders += 1;
        assert.equal(holders, 1);
        await Promise.resolve();
        holders -= 1;
        done += 1;
      },
      { signal },
    );
  await Promise.all(Array.from({ length: step.count }, one));
  return done;
}

function compare({ left, is, right }: Json): void {
  const holds = { '==': left === right, '!=': left !== right, '<': left < right, '>': left > right };
  assert.ok(holds[is as keyof typeof holds], `${left} ${is} ${right}`);
}

/** What comes out of a stream, as JSON. */
async function next(stream: AsyncIterator<Json>): Promise<unknown> {
  const { value } = await stream.next();
  if (value === null || value === undefined) return value;
  if ('instance' in value) return [value.kind, value.instance.id];
  // A stream of values in force gives nothing else.
  return 'source' in value ? ['applied', value.value] : value.text;
}

export const BASICS: Readonly<Record<string, Verb>> = {
  // What a scenario is not about has time.
  connect: ({ server }, { as, ttl = 60, timeout = 60 }) =>
    server.connect({ appName: as, ttlMs: ms(ttl), timeoutMs: ms(timeout) }),
  close: (play, { on }) => play.known(on).close(),
  expire,
  restart: ({ server }) => server.restart(),
  stop: ({ server }) => server.stop(),
  disconnect: ({ server }) => server.disconnect(),
  pause: ({ server }) => server.pause(),
  resume: ({ server }) => server.resume(),
  compact,
  wait: (play, step) => task(play, step).result,
  cancel: (play, step) => task(play, step).cancel(),
  running: (play, step) => task(play, step).running,
  tick: async () => {
    for (let timer = 0; timer < 10; timer += 1) await later(1);
  },
  compare: (_, step) => compare(step),

  put: (play, { on, key, value, ...step }) =>
    (on === undefined ? play.client(step) : play.known(on)).put(key, value),
  get: async (play, step) => (await play.client(step).get(step.key))?.text ?? null,
  delete: (play, step) => play.client(step).delete(step.key),
  count: async (play, step) => (await play.client(step).range(step.prefix, { prefix: true })).count,
  put_many: (play, step) => putMany(play.client(step), step),
  watch: (play, { prefix, start_revision, ...step }) =>
    play.client(step).watch(prefix, { prefix: true, startRevision: start_revision }),
  take: (play, { on, count }) => take(play.known(on), count),
  next: (play, { on }) => next(play.known(on)),
};

export const LOCKS: Readonly<Record<string, Verb>> = {
  lock: (play, step, { signal }) => lock(play, step).acquire({ signal }),
  try_lock: (play, step, { signal }) => lock(play, step).tryAcquire({ signal }),
  within: (play, step, work) =>
    lock(play, step).use((held) => work.body(step.body ?? 'stay', held), { signal: work.signal }),
  entered: (play, { times = 1, ...step }) => task(play, step).entered(times),
  leave: (play, step) => task(play, step).leave(),
  release: (play, { on }) => {
    const held = play.known(on);
    return held instanceof Leadership ? held.resign() : held.release();
  },
  told,
  check: (play, { on }) => play.known(on).check(),
  lost: async (play, { on }) => {
    const reason = await aborted(play.known(on).signal);
    return reason instanceof LockLostError ? reason.reason : reason;
  },
  line: async (play, step) => (await lock(play, step).line()).members.length,
  break: (play, step) => lock(play, step).breakHolder(step.why),
  crowd: (play, step, { signal }) => crowd(play, step, signal),
  multi_lock: (play, { names, ...step }, { signal }) =>
    play.client(step).multiLock(names, waiting(play, step)).acquire({ signal }),

  campaign: (play, step, { signal }) => election(play, step).campaign({ signal }),
  lead: (play, step, work) =>
    election(play, step).lead((term) => work.body(step.body ?? 'stay', term), { signal: work.signal }),
  proclaim: (play, { on, value }) => play.known(on).proclaim(value),
  leader: async (play, step) => (await election(play, step).leader())?.text ?? null,
  candidates: async (play, step) => (await election(play, step).candidates()).members.length,
  observe: (play, step) => election(play, step).observe(),
};
