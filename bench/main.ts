// npm run bench [agents|audit|claims|dispatch|fanout|files|import|jobs|latency|masking|queue|steps|stream|targets|winrm]: runs one benchmark, or all, and writes docs/benchmarks.md.
import { benchAgents } from './agents.ts';
import { benchAudit } from './audit.ts';
import { benchClaims } from './claims.ts';
import { benchDispatch } from './dispatch.ts';
import { benchFanout } from './fanout.ts';
import { benchFiles } from './files.ts';
import { benchImport } from './import.ts';
import { benchJobs } from './jobs.ts';
import { benchLatency } from './latency.ts';
import { benchMasking } from './masking.ts';
import { benchQueue } from './queue.ts';
import { benchSteps } from './steps.ts';
import { benchStream } from './stream.ts';
import { benchTargets } from './targets.ts';
import { benchWinrm } from './winrm/main.ts';

const benchmarks: Record<string, () => Promise<void>> = {
  agents: benchAgents,
  audit: benchAudit,
  claims: benchClaims,
  dispatch: benchDispatch,
  fanout: benchFanout,
  files: benchFiles,
  import: benchImport,
  jobs: benchJobs,
  latency: benchLatency,
  masking: benchMasking,
  queue: benchQueue,
  steps: benchSteps,
  stream: benchStream,
  targets: benchTargets,
  winrm: benchWinrm,
};
const names = process.argv.slice(2);
if (names.includes('--help') || names.includes('-h')) {
  process.stdout.write(
    `Usage: npm run bench [-- ${Object.keys(benchmarks).join('|')} …]; by default all of them.\n`,
  );
  process.exit(0);
}
const unknown = names.filter((name) => benchmarks[name] === undefined);
if (unknown.length > 0) {
  process.stderr.write(
    `No benchmark ${unknown.join(', ')}; there are ${Object.keys(benchmarks).join(', ')}.\n`,
  );
  process.exit(2);
}
for (const [name, bench] of Object.entries(benchmarks)) {
  if (names.length === 0 || names.includes(name)) await bench();
}
process.exit(0);
