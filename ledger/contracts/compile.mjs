// Compiles the contracts with the pinned solc. Writes build/contracts/<Name>.json: abi, bytecode, deployedBytecode and
// what a verifier needs to repeat the build. A warning about our own sources is an error.
// Usage: node compile.mjs [folder of other .sol files, compiled as well]...
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const solc = require('solc');
const here = dirname(fileURLToPath(import.meta.url));
const output = join(here, '..', '..', 'build', 'contracts');

const read = (folder) =>
  readdirSync(folder).filter((name) => name.endsWith('.sol'))
    .map((name) => [name, { content: readFileSync(join(folder, name), 'utf8') }]);
const sources = Object.fromEntries([here, ...process.argv.slice(2)].flatMap(read));

const input = {
  language: 'Solidity',
  sources,
  settings: {
    optimizer: { enabled: true, runs: 1_000_000 },
    viaIR: true,
    evmVersion: 'cancun',
    outputSelection: { '*': { '*': ['abi', 'metadata', 'evm.bytecode.object', 'evm.deployedBytecode'] } },
  },
};
const findImport = (path) => {
  try {
    return { contents: readFileSync(require.resolve(path), 'utf8') };
  } catch {
    return { error: `${path} is not installed: run npm ci in ledger/contracts` };
  }
};

const result = JSON.parse(solc.compile(JSON.stringify(input), { import: findImport }));
const isOurs = (error) => !error.sourceLocation?.file.startsWith('@');
const problems = (result.errors ?? []).filter((error) => error.severity === 'error' || (error.severity === 'warning' && isOurs(error)));
if (problems.length > 0) {
  for (const problem of problems) console.error(problem.formattedMessage);
  process.exit(1);
}
mkdirSync(output, { recursive: true });
for (const source of Object.keys(sources)) {
  for (const [name, contract] of Object.entries(result.contracts[source])) {
    const { bytecode, deployedBytecode } = contract.evm;
    const artifact = {
      contract: name,
      compiler: solc.version(),
      abi: contract.abi,
      bytecode: '0x' + bytecode.object,
      deployedBytecode: '0x' + deployedBytecode.object,
      metadata: contract.metadata,
    };
    writeFileSync(join(output, `${name}.json`), JSON.stringify(artifact, null, 1) + '\n');
    const size = deployedBytecode.object.length / 2;
    if (size > 0) console.log(`${name}: ${size} bytes of code`);
  }
}
