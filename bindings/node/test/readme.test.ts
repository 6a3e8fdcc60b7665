// The programs of the README run as they stand.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { TestServer } from 'handfast/testing';

import { PACKAGE, node } from './util.js';

let server: TestServer;
before(async () => {
  server = await TestServer.start();
});
after(() => server.close());

const text = readFileSync(join(PACKAGE, 'README.md'), 'utf8');
const programs = [...text.matchAll(/```js( test)?\n(.*?)```/gs)].map(([, mark, code]) => ({ mark, code: code ?? '' }));

/** Node 20 runs `await using` only when compiled. */
function compiled(code: string): string {
  return code.replace('await using hf = await connect', 'const hf = await connect');
}

for (const [index, { mark, code }] of programs.entries()) {
  test(`program ${index + 1} of the README`, async () => {
    const program = compiled(code).replaceAll("'127.0.0.1:2379'", JSON.stringify(server.endpoint));
    const ended = await node(['--input-type=module', '--eval', program], { env: { ...process.env, NODE_TEST_CONTEXT: '' } });
    assert.equal(ended.code, 0, ended.output);
    if (mark !== undefined) assert.match(ended.output, /pass 1/);
  });
}

test('there are programs', () => assert.ok(programs.length >= 7));
