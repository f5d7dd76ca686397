// The embedded ledger and the Solidity contract, call by call: the same outcome, the same events, the same views, the
// same balances. Every run is a fresh pair of ledgers with a seed of its own, printed if it fails, and can be played
// again alone. Runs are played in parallel by worker processes (twin_run.mjs). From COVERED_CALLS calls on, all that
// the interface names must have been reached (coverage.mjs).
// Usage: node tests/evm/differential.mjs [--seed S] [--calls N] [--jobs N]
//        node tests/evm/differential.mjs --run 'S/3' [--calls N]          the one run that failed
import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Coverage } from './coverage.mjs';

const RUN_CALLS = 1000, COVERED_CALLS = 10_000, PROGRESS_MS = 5000;

const { values: flags } = parseArgs({
  options: {
    seed: { type: 'string', default: 'rill' }, calls: { type: 'string', default: '2000' }, run: { type: 'string' },
    jobs: { type: 'string', default: String(availableParallelism()) },
  },
});
for (const name of ['calls', 'jobs'])
  if (!/^[1-9]\d*$/.test(flags[name])) {
    console.error(`--${name} wants a number of at least 1, not '${flags[name]}'`);
    process.exit(2);
  }

const calls = Number(flags.calls);
const runs = [];
if (flags.run !== undefined) runs.push({ seed: flags.run, calls: Math.min(calls, RUN_CALLS) });
else
  for (let run = 0; run * RUN_CALLS < calls; run++)
    runs.push({ seed: `${flags.seed}/${run}`, calls: Math.min(RUN_CALLS, calls - run * RUN_CALLS) });
const planned = runs.reduce((sum, run) => sum + run.calls, 0);

const coverage = new Coverage();
let passed = 0, failed = 0, done = 0;

function fail(text) {
  failed++;
  console.error(text);
}

/** One process that plays runs until none is left; it is asked for the next when it has answered. */
function work(queue) {
  return new Promise((resolve) => {
    const worker = fork(fileURLToPath(new URL('twin_run.mjs', import.meta.url)));
    let playing;
    const next = () => {
      playing = queue.shift();
      if (playing) worker.send(playing);
      else worker.disconnect();
    };
    worker.on('message', (message) => {
      done += message.done;
      if (!message.coverage) return;
      coverage.merge(message.coverage);
      if (message.problem) fail(message.problem);
      else passed++;
      next();
    });
    worker.on('exit', (code, signal) => {
      if (playing) fail(`FAILED: run ${playing.seed}: its process ended (${signal ?? `exit status ${code}`})`);
      resolve();
    });
    next();
  });
}

const began = Date.now();
const seconds = () => Math.round((Date.now() - began) / 1000);
const progress = setInterval(() => console.log(`${done} of ${planned} calls, ${seconds()} s`), PROGRESS_MS);
await Promise.all(Array.from({ length: Math.min(Number(flags.jobs), runs.length) }, () => work(runs)));
clearInterval(progress);

coverage.report();
const missing = coverage.missing();
if (missing.length > 0 && planned >= COVERED_CALLS) fail(`never reached, so never compared: ${missing.join(', ')}`);
else if (missing.length > 0) console.log(`not reached by so few calls: ${missing.join(', ')}`);
else passed++;
console.log(`seed ${flags.run ?? flags.seed}: ${done} calls in ${seconds()} s, runs and coverage:`);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
