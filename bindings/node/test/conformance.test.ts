// The scenarios that every language must pass, each a test by its id.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';

import { TestServer } from 'handfast/testing';

import { BASICS, LOCKS } from './conformance/locks.js';
import { Player, scenarios } from './conformance/player.js';
import { CONFIGS, QUEUES, SERVICES } from './conformance/recipes.js';

const VERBS = { ...BASICS, ...LOCKS, ...QUEUES, ...SERVICES, ...CONFIGS };
const passed: string[] = [];

// Most of them wait most of the time.
describe('scenarios', { concurrency: 2 }, () => {
  for (const { id, steps, not_for } of scenarios()) {
    test(id, { skip: not_for?.node ?? false }, async () => {
      const server = await TestServer.start();
      const folder = mkdtempSync(join(tmpdir(), 'handfast-'));
      const player = new Player(server, folder, VERBS);
      try {
        await player.play(steps);
      } finally {
        server.resume();
        await player.end();
        await server.close();
        rmSync(folder, { recursive: true, force: true });
      }
      passed.push(id);
    });
  }
});

// For the page that says what each language passes.
after(() => {
  const results = process.env.HANDFAST_CONFORMANCE;
  if (results === undefined) return;
  mkdirSync(results, { recursive: true });
  writeFileSync(join(results, 'node.txt'), passed.map((id) => `${id}\n`).join(''));
});
