// 12,000 hosts from one file: planned, applied, planned again without changes, and planned with one change in each
// host.
import { type InventoryPlan, limits } from '@opsconductor/protocol';
import { type BenchSystem, startBenchSystem } from './bench-system.ts';
import { writeReport } from './report.ts';

const hosts = limits.maxTargetsPerRun;

export async function benchImport(): Promise<void> {
  const system = await startBenchSystem();
  try {
    const csv = await timeImports(system, 'csv', csvOf);
    const yaml = await timeImports(system, 'ansible_yaml', yamlOf);
    const row = (what: string, of: keyof Times): [string, string, string] => [
      what,
      `CSV ${seconds(csv[of])}, YAML ${seconds(yaml[of])}`,
      '',
    ];
    const each = (what: string, of: keyof Times): [string, string, string][] => [
      [`${what}, CSV`, seconds(csv[of]), 'under 30 s'],
      [`${what}, YAML`, seconds(yaml[of]), 'under 30 s'],
    ];
    await writeReport({
      name: 'import',
      title: `Import of ${hosts} hosts from one file`,
      rows: [
        ...each('planned and applied', 'firstMs'),
        row('planning alone', 'planMs'),
        row('planned again, nothing changed', 'unchangedMs'),
        ...each('planned and applied again, one label of each host changed', 'changedMs'),
      ],
      notes: [
        'Each is timed from before the request until its answer was read. Each host has three labels, two target groups have selectors that refer to them, and each target gets an audit row.',
        'The YAML has a group for each rack; the variables of the groups become labels.',
      ],
    });
  } finally {
    await system.stop();
  }
}

interface Times {
  firstMs: number;
  planMs: number;
  unchangedMs: number;
  changedMs: number;
}

async function timeImports(
  system: BenchSystem,
  format: 'csv' | 'ansible_yaml',
  contentOf: (env: string) => string,
): Promise<Times> {
  const name = `import-${format.replace('_', '-')}`;
  const segment = await system.api<{ id: number }>('POST', '/segments', { name });
  await system.api('POST', '/target-groups', {
    name: `${format} prod`,
    selector: `segment:${name} env=prod`,
  });
  await system.api('POST', '/target-groups', {
    name: `${format} racks`,
    selector: `segment:${name} rack in (r1, r2)`,
  });
  const options = { groups: 'none', labelVariables: ['rack', 'env', 'role'] };
  const { id } = await system.api<{ id: number }>('POST', '/inventories', {
    name: format,
    format,
    segmentId: segment.id,
    options,
  });
  const plan = (env: string) =>
    system.api<InventoryPlan>('POST', `/inventories/${id}/plan`, {
      files: [{ path: 'hosts', content: contentOf(env) }],
    });
  const apply = async (planned: InventoryPlan, counts: Partial<InventoryPlan['counts']>) => {
    for (const [name, count] of Object.entries(counts)) {
      if (planned.counts[name as 'create'] !== count) throw new Error(JSON.stringify(planned.counts));
    }
    await system.api('POST', `/inventories/${id}/plans/${planned.id}/apply`, { gone: 'keep' });
  };
  const first = await timed(async () => {
    const planned = await timed(() => plan('prod'));
    await apply(planned.result, { create: hosts });
    return planned.ms;
  });
  const unchanged = await timed(() => plan('prod'));
  if (unchanged.result.counts.unchanged !== hosts) throw new Error(JSON.stringify(unchanged.result.counts));
  const changed = await timed(async () => apply(await plan('stage'), { update: hosts }));
  return { firstMs: first.ms, planMs: first.result, unchangedMs: unchanged.ms, changedMs: changed.ms };
}

async function timed<T>(work: () => Promise<T>): Promise<{ ms: number; result: T }> {
  const startedMs = performance.now();
  const result = await work();
  return { ms: performance.now() - startedMs, result };
}

const numbers = Array.from({ length: hosts }, (_, n) => n);
const addressOf = (n: number) => `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`;

function csvOf(env: string): string {
  const rows = numbers.map((n) => `host-${n},${addressOf(n)},r${n % 60},${env},role-${n % 7}`);
  return `name,host,label:rack,label:env,label:role\n${rows.join('\n')}\n`;
}

function yamlOf(env: string): string {
  const racks = Array.from({ length: 60 }, (_, rack) => {
    const lines = numbers
      .filter((n) => n % 60 === rack)
      .map(
        (n) => `        host-${n}:\n          ansible_host: ${addressOf(n)}\n          role: role-${n % 7}`,
      );
    return `    rack_${rack}:\n      vars:\n        rack: r${rack}\n      hosts:\n${lines.join('\n')}`;
  });
  return `all:\n  vars:\n    env: ${env}\n  children:\n${racks.join('\n')}\n`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
