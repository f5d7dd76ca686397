#!/usr/bin/env node
// The compiler as forge wants one, a program that answers --version and takes standard JSON on its standard input,
// around the pinned solc from npm: so forge downloads nothing. forge resolves the imports itself and sends every
// source along; the paths that it names on the command line are not needed.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(new URL('../../ledger/contracts/package.json', import.meta.url));
const flags = process.argv.slice(2);

if (flags.includes('--version')) {
  console.log(`solc, the solidity compiler commandline interface\nVersion: ${require('solc').version()}`);
} else if (flags.includes('--standard-json')) {
  process.stdout.write(require('solc').compile(readFileSync(0, 'utf8')));
} else {
  console.error(`solc.mjs: expected --version or --standard-json, not: ${flags.join(' ')}`);
  process.exit(2);
}
