// Puts the compiled code where the C build takes it from: ledger/contracts/<Name>.inc, a C string literal in hexadecimal
// digits. Reads what compile.mjs wrote.
// Usage: node code.mjs [--check]; --check writes nothing, and fails if a file is not what the compiler made.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const check = process.argv[2] === '--check';
const DIGITS_PER_LINE = 112;

const textOf = ({ contract, compiler, bytecode }) => {
  const lines = bytecode.slice(2).match(new RegExp(`.{1,${DIGITS_PER_LINE}}`, 'g'));
  return `/* The code that creates ${contract}. Made from the sources by \`make contract-code\` with solc ${compiler}. */\n`
    + lines.map((line) => `"${line}"\n`).join('');
};
const readOrNothing = (file) => {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
};

let stale = 0;
for (const name of ['RillHub', 'RillTokenFactory']) {
  const artifact = JSON.parse(readFileSync(join(here, '..', '..', 'build', 'contracts', `${name}.json`), 'utf8'));
  const file = join(here, `${name}.inc`);
  const text = textOf(artifact);
  if (readOrNothing(file) === text) continue;
  if (check) {
    console.error(`ledger/contracts/${name}.inc is not what the compiler makes of the sources: make contract-code`);
    stale += 1;
  } else {
    writeFileSync(file, text);
    console.log(`ledger/contracts/${name}.inc: ${(artifact.bytecode.length - 2) / 2} bytes of code`);
  }
}
if (check && stale === 0) console.log('check-contract-code: ok');
process.exitCode = stale > 0 ? 1 : 0;
