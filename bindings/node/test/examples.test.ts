// The examples do what they say.

import assert from 'node:assert/strict';
import { cpSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { PACKAGE, node } from './util.js';

const EXAMPLES = join(PACKAGE, '..', '..', 'examples', 'node');
// Below the package its name leads to itself, as it leads to an installed one elsewhere.
const COPIES = join(PACKAGE, 'dist-test', 'examples');
cpSync(EXAMPLES, COPIES, { recursive: true, filter: (path) => !path.includes('node_modules') });

const STORIES: Record<string, readonly string[]> = {
  'config.mjs': [
    'in force: 200',
    'in force: 200, refused: requests is not a number',
    'in force: 200, refused: that is more than one machine can do',
    'somebody else has published since',
    'web: 300 requests at 3 hosts',
    'batch: 300 requests at 3 hosts',
  ],
  'discovery.mjs': [
    'listed: n1=10.0.0.1:80 n2=10.0.0.2:80 n3=10.0.0.3:80',
    'by weight: n1=10 n2=20 n3=30',
    'backends of user 7: 1',
    'n1 drains, calls go to: n2 n3',
    'n1 updated',
    'n2 left',
    'still there: 10.0.0.3:80',
  ],
  'index.mjs': ['3 led, 1 built the index', 'and:one,two', 'lease:one,two', 'lock:one', 'watch:two'],
  'jobs.mjs': [
    'pushed again: true',
    'first in, first out: a b c',
    'result: JOB B',
    'failed: attempt 1',
    'failed: attempt 2',
    'dead letter: division by zero: attempt 2',
    'two of three: 2 items are ready, and work begins at 3',
    'three of three: x y z',
    "the gate's task first: prepare behind",
    'in order of dependence: compile a compile b link',
    'not started: the queue was not started; `queue start` does',
    'started: x',
  ],
  'monitor.mjs': ['n1 joined', 'n2 joined', 'n3 joined', 'n1 left', 'n2 died', 'left over: n3'],
  'shared_log.mjs': ['waiting: 3', 'written by: ada bob cyd', 'no deadlock'],
};

for (const [name, lines] of Object.entries(STORIES)) {
  test(`the story of ${name}`, async () => {
    const ended = await node([join(COPIES, name)]);
    assert.equal(ended.code, 0, ended.output);
    assert.deepEqual(ended.output.trimEnd().split('\n'), lines);
  });
}

test('every example is run', () => {
  const there = readdirSync(EXAMPLES).filter((name) => name.endsWith('.mjs'));
  assert.deepEqual(there.sort(), Object.keys(STORIES).sort());
});
