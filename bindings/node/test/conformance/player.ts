// Plays steps against the client: what a step is, and what its outcome must be; the README of the
// scenarios says it. The verbs come from elsewhere.

import assert, { AssertionError } from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';

import { HandfastError, type Client, type Held } from 'handfast';
import { type TestServer } from 'handfast/testing';

import { PACKAGE } from '../util.js';

const LIMIT_MS = 120_000;

/** A step, or another part of the data: any JSON. */
export type Json = any;

/** A scenario, as far as it is not its steps. */
export interface Scenario {
  readonly id: string;
  readonly steps: readonly Json[];
  /** Why a language does not play it. */
  readonly not_for?: Readonly<Record<string, string>>;
}

/** What a verb does; it throws what the step may fail with. */
export type Verb = (play: Player, step: Json, work: Work) => unknown;

/** All scenarios. */
export function scenarios(): Scenario[] {
  const folder = join(PACKAGE, '..', '..', 'tests', 'conformance');
  const files = readdirSync(folder).filter((name) => name.endsWith('.json')).sort();
  return files.flatMap((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')).scenarios);
}

/** An error of the body's own. */
export class Own extends Error {}

/** Resolves after so many milliseconds. */
export const later = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** A step under way, and the scope it may be in. */
export class Work {
  readonly #stop = new AbortController();
  /** What was held each time. */
  readonly #entries: Held[] = [];
  readonly #awaited: (() => void)[] = [];
  leave!: () => void;
  readonly left = new Promise<void>((resolve) => (this.leave = resolve));
  result: Promise<unknown> = Promise.resolve();
  running = true;

  /** Cancels it, as every call can be. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  cancel(): void {
    this.#stop.abort();
  }

  /** What was held when the scope was entered so many times. */
  async entered(times: number): Promise<Held> {
    for (;;) {
      const held = this.#entries[times - 1];
      if (held !== undefined) return held;
      await new Promise<void>((resolve) => this.#awaited.push(resolve));
    }
  }

  /** What runs inside the scope: it ends when it is cancelled, and when what is held is lost. */
  async body(kind: 'raise' | 'stay' | undefined, held: Held): Promise<void> {
    this.#entries.push(held);
    for (const resolve of this.#awaited.splice(0)) resolve();
    if (kind === 'raise') throw new Own('of the body');
    if (kind !== 'stay') return;
    await new Promise<void>((resolve, reject) => {
      void this.left.then(resolve);
      for (const signal of [this.signal, held.signal]) {
        const abort = () => reject(signal.reason);
        if (signal.aborted) abort();
        else signal.addEventListener('abort', abort);
      }
    });
  }
}

/** One scenario, its server and what its steps have named. */
export class Player {
  readonly tasks = new Map<string, Work>();
  readonly #known = new Map<string, Json>();
  readonly #works: Work[] = [];

  constructor(
    readonly server: TestServer,
    readonly folder: string,
    readonly verbs: Readonly<Record<string, Verb>>,
  ) {}

  async play(steps: readonly Json[]): Promise<void> {
    for (const [number, given] of steps.entries()) {
      let timer: NodeJS.Timeout | undefined;
      const limit = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error('it takes too long')), LIMIT_MS);
      });
      try {
        await Promise.race([this.#step(this.#resolved(given)), limit]);
      } catch (cause) {
        throw new Error(`step ${number}, ${JSON.stringify(given)}: ${String(cause)}`, { cause });
      } finally {
        clearTimeout(timer);
      }
    }
  }

  /** Ends what is under way. */
  async end(): Promise<void> {
    for (const work of this.#works) work.cancel();
    await Promise.allSettled(this.#works.map(({ result }) => result));
  }

  /** What an earlier step named so. */
  known(name: string): Json {
    assert.ok(this.#known.has(name), `nothing is called ${name}`);
    return this.#known.get(name);
  }

  /** Gives something a name of the step's own. */
  name(name: string, thing: Json): void {
    this.#known.set(name, thing);
  }

  /** The client that the step speaks of. */
  client(step: Json): Client {
    return this.known(step.client);
  }

  async #step(step: Json): Promise<void> {
    if ('start' in step) {
      this.tasks.set(step.start, this.#begin(step));
      return;
    }
    for (let pause = 20; ; pause = Math.min(pause * 1.5, 300)) {
      try {
        return await this.#attempt(step);
      } catch (error) {
        if (!(error instanceof AssertionError && step.eventually)) throw error;
        await later(pause);
      }
    }
  }

  #begin(step: Json): Work {
    const work = new Work();
    this.#works.push(work);
    const verb = this.verbs[step.do];
    assert.ok(verb, `no verb ${step.do}`);
    // Called at once, and whatever it throws is its result.
    work.result = (async () => verb(this, step, work))().finally(() => (work.running = false));
    work.result.catch(() => undefined);
    return work;
  }

  /** Does the step and looks at the outcome. */
  async #attempt(step: Json): Promise<void> {
    let result: unknown;
    try {
      result = await this.#begin(step).result;
    } catch (error) {
      if (error instanceof AssertionError || !('fails' in step)) throw error;
      compareFailure(step.fails, error);
      return;
    }
    assert.ok(!('fails' in step), `gave ${JSON.stringify(result)}`);
    if ('gives' in step) {
      const choice: unknown[] = step.gives?.any ?? [step.gives];
      const fits = choice.some((wanted) => isDeepStrictEqual(result, wanted));
      assert.ok(fits, `gave ${JSON.stringify(result)}`);
    }
    if ('as' in step) this.name(step.as, result);
  }

  #resolved(value: Json): Json {
    if (Array.isArray(value)) return value.map((inner) => this.#resolved(inner));
    if (value !== null && typeof value === 'object') {
      const fields = Object.entries(value).map(([name, inner]) => [name, this.#resolved(inner)]);
      return Object.fromEntries(fields);
    }
    if (typeof value !== 'string' || !value.startsWith('$')) return value;
    const [name = '', ...fields] = value.slice(1).split('.');
    return fields.reduce((found, field) => found[camelCase(field)], this.known(name));
  }
}

function compareFailure(fails: Json, error: unknown): void {
  const wanted = typeof fails === 'string' || Array.isArray(fails) ? { code: fails } : fails;
  const codes = [wanted.code].flat();
  assert.ok(codes.includes(code(error)), `failed with ${String(error)}`);
  const details = HandfastError.is(error) ? error.details : {};
  for (const [name, value] of Object.entries(wanted.details ?? {})) {
    const found = details[camelCase(name)];
    assert.ok(found !== undefined && (value === null || value === found), `${name} is ${found}`);
  }
}

function code(error: unknown): string {
  if (HandfastError.is(error)) return error.code;
  if (error instanceof Own) return 'OWN';
  return error instanceof Error && error.name === 'AbortError' ? 'CANCELLED' : 'none';
}

function camelCase(name: string): string {
  return name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
