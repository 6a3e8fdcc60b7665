// The platforms there is a package for, and that package: everything about them comes from
// platforms.json, so that another one is another entry there.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

/** The folder of the public package. */
export const here = fileURLToPath(new URL('..', import.meta.url));
/** The top of the working tree. */
export const root = join(here, '..', '..');

/** The package as it is in the working tree. */
export const source = JSON.parse(readFileSync(join(here, 'package.json'), 'utf8'));
/** All platforms. */
export const platforms = JSON.parse(readFileSync(join(here, 'platforms.json'), 'utf8'));

/** The platform called `name`, or else the one of this machine. */
export function platform(name) {
  const own = ({ package: { os, cpu } }) => os.includes(process.platform) && cpu.includes(process.arch);
  const found = platforms.find((one) => (name === undefined ? own(one) : one.name === name));
  if (found === undefined) {
    const known = platforms.map((one) => one.name).join(', ');
    throw new Error(`platforms.json has no ${name ?? `${process.platform}-${process.arch}`}; it has ${known}`);
  }
  return found;
}

/** What the package with a platform's native module is called. */
export function packageName({ name }) {
  return `@handfast/native-${name}`;
}

/** The file of a platform's native module in its package. */
export function moduleFile({ name }) {
  return `handfast.${name}.node`;
}

/** Writes down the package of a platform, but for its native module; its folder. */
export function writePackage(one) {
  const folder = join(here, 'npm', one.name);
  mkdirSync(folder, { recursive: true });
  const { version, license, repository, engines } = source;
  const described = {
    name: packageName(one),
    version,
    description: `The native module of handfast for ${one.title}`,
    license,
    repository,
    engines,
    ...one.package,
    main: moduleFile(one),
    files: [moduleFile(one)],
  };
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(described, null, 2)}\n`);
  const readme = `The native module of [handfast](https://github.com/handfast/handfast) for ${one.title}.
It comes with the package \`handfast\`; nobody needs to install it by hand.
`;
  writeFileSync(join(folder, 'README.md'), readme);
  return folder;
}
