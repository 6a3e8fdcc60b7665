// Packs what is published: the package that everybody installs, and for each platform of
// platforms.json whose native module was built here the package with it.
//
//     node scripts/packages.mjs [--quick] [FOLDER]
//
// The archives go to FOLDER, by default target/npm. With --quick what is large is not compressed.

import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

import { here, moduleFile, packageName, platforms, root, source } from './platforms.mjs';

const LICENCES = ['LICENSE-APACHE', 'LICENSE-MIT'];
const { values, positionals } = parseArgs({ options: { quick: { type: 'boolean' } }, allowPositionals: true });
const folder = resolve(positionals[0] ?? join(root, 'target', 'npm'));
const stage = mkdtempSync(join(tmpdir(), 'handfast-stage-'));

/** Packs one package, and says how large it is. */
function pack(from) {
  for (const licence of LICENCES) copyFileSync(join(root, licence), join(from, licence));
  const described = JSON.parse(readFileSync(join(from, 'package.json'), 'utf8'));
  described.files.push(...LICENCES);
  writeFileSync(join(from, 'package.json'), `${JSON.stringify(described, null, 2)}\n`);
  const args = ['pack', '--silent', '--json', '--pack-destination', folder];
  const [packed] = JSON.parse(execFileSync('npm', args, { cwd: from, encoding: 'utf8' }));
  const kib = (bytes) => `${Math.ceil(bytes / 1024).toLocaleString('en')} KiB`;
  console.log(`${packed.filename}: ${kib(packed.size)}, installed ${kib(packed.unpackedSize)}`);
}

/** The public package, which asks for the native module of whatever platform it is installed on. */
function stagePublic() {
  const staged = join(stage, 'handfast');
  mkdirSync(staged);
  for (const name of [...source.files, 'README.md']) cpSync(join(here, name), join(staged, name), { recursive: true });
  const { devDependencies, scripts, ...published } = source;
  published.optionalDependencies = Object.fromEntries(platforms.map((one) => [packageName(one), source.version]));
  writeFileSync(join(staged, 'package.json'), `${JSON.stringify(published, null, 2)}\n`);
  return staged;
}

/** An archive as npm makes it, but for its being compressed. */
function archive(from, { name }) {
  const file = join(folder, `handfast-native-${name}-${source.version}.tgz`);
  renameSync(from, join(stage, 'package'));
  execFileSync('tar', ['--create', '--file', file, '--directory', stage, 'package']);
}

/** The oldest glibc that a module runs with: the newest version of a symbol that it asks for. */
function glibc(module) {
  const asked = readFileSync(module, 'latin1').matchAll(/\0GLIBC_2\.(\d+)/g);
  const minors = Array.from(asked, ([, minor]) => Number(minor));
  return minors.length === 0 ? '' : `, needs glibc 2.${Math.max(...minors)}`;
}

try {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  pack(stagePublic());
  for (const one of platforms) {
    const built = join(here, 'npm', one.name);
    const module = join(built, moduleFile(one));
    if (!existsSync(module)) {
      console.log(`${packageName(one)} is left out: it was not built here`);
      continue;
    }
    const staged = join(stage, one.name);
    cpSync(built, staged, { recursive: true });
    if (values.quick) {
      archive(staged, one);
      continue;
    }
    pack(staged);
    console.log(`  ${(statSync(module).size / 1048576).toFixed(1)} MiB of native module${glibc(module)}`);
  }
} finally {
  rmSync(stage, { recursive: true, force: true });
}
console.log(`in ${folder}`);
