// npm run hostile -- [--seed TEXT] [--only WORD] [--least SECONDS] [--elsewhere]: many kinds of hostile clients, one
// after another, against the product as installed, next to one client that behaves. Prints the result of each; exits
// with 1 if anything was not as it must be.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { constants, setPriority } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type BenchSystem, startBenchSystem } from '../../bench/bench-system.ts';
import { cpuSeconds } from '../../bench/cpu-seconds.ts';
import type { FromAttacker, ToAttacker } from './attacker.ts';
import { attacks } from './attacks.ts';
import { prepareField } from './field.ts';
import { GoodClient } from './good-client.ts';
import { PeakMemory } from './peak-memory.ts';
import { problemsOf, tellRow } from './verdict.ts';

const usage = `Usage: npm run hostile -- [--seed TEXT] [--only WORD] [--least 1..600] [--elsewhere]
Attacks:
${attacks.map(({ name }) => `  ${name}\n`).join('')}`;
const values = readOptions();
const chosen = attacks.filter(({ name }) => name.includes(values.only));
const leastMs = Number(values.least) * 1_000;
if (chosen.length === 0 || !(leastMs > 0 && leastMs <= 600_000)) {
  process.stderr.write(usage);
  process.exit(2);
}
const say = (line: string) => process.stdout.write(`${line}\n`);

const system = await startBenchSystem();
let failed = 0;
try {
  failed = await attackAll(system);
} finally {
  await system.stop();
}
say(
  failed === 0
    ? 'Nothing failed.'
    : `${failed} of ${chosen.length} attacks had an effect that they must not have.`,
);
process.exit(failed === 0 ? 0 : 1);

function readOptions() {
  if (process.argv.includes('--help')) {
    process.stdout.write(usage);
    process.exit(0);
  }
  try {
    return parseArgs({
      options: {
        seed: { type: 'string', default: '1' },
        only: { type: 'string', default: '' },
        least: { type: 'string', default: '12' },
        // In reality they run on another machine: they must not take processors from the server and the good client.
        elsewhere: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    process.stderr.write(`error: ${error instanceof Error ? error.message : error}\n${usage}`);
    process.exit(2);
  }
}

async function attackAll(at: BenchSystem): Promise<number> {
  const field = await prepareField(at);
  const attacker = fork(join(import.meta.dirname, 'attacker.ts'), { execArgv: ['--import', 'tsx'] });
  if (values.elsewhere) setPriority(attacker.pid ?? 0, constants.priority.PRIORITY_LOW);
  const { id: newcomer } = await at.api<{ id: number }>('POST', '/users', { name: 'newcomer' });
  const client = new GoodClient(at, newcomer);
  const memory = new PeakMemory(at.serverPid);
  const serverSeconds = () => cpuSeconds({ server: at.serverPid }).server ?? 0;
  try {
    // What is compiled and cached at first is not part of the comparison.
    for (const path of ['/agent.mjs', '/api/v1/openapi.json', '/api/docs'])
      await fetch(`${at.baseUrl}${path}`).then((reply) => reply.arrayBuffer());
    await pause(leastMs / 2);
    await client.served();
    say(
      `seed ${values.seed}; each attack ${leastMs / 1_000} s at least; hostile clients ${values.elsewhere ? 'give way to all others where a processor is wanted (nice 19)' : 'share the processors with all others'}`,
    );
    let count = 0;
    for (const attack of chosen) {
      // The baseline is measured before each attack, because the machine's other load changes.
      await pause(leastMs);
      const before = await client.served();
      memory.restart();
      const startS = serverSeconds();
      const result = await ask(attacker, { ...field, name: attack.name, seed: values.seed, leastMs });
      const used = { peakMb: memory.peakMb, cpuS: serverSeconds() - startS };
      const outcome = { result, before, during: await client.served(), ...used };
      say(tellRow(outcome));
      const problems = problemsOf(outcome, attack.boundMs);
      for (const problem of problems) say(`   ${problem}`);
      if (problems.length > 0) count += 1;
    }
    return count;
  } finally {
    client.stop();
    memory.stop();
    attacker.kill();
  }
}

async function ask(
  attacker: ChildProcess,
  message: ToAttacker,
): Promise<Exclude<FromAttacker, { failed: string }>> {
  attacker.send(message);
  const [answer] = (await once(attacker, 'message')) as [FromAttacker];
  if ('failed' in answer) throw new Error(answer.failed);
  return answer;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
