// Random scripts with placeholders anywhere, run in real shells with hostile values if they are accepted: none may run a
// value. For a longer search: OPSCONDUCTOR_HOSTILE_SCRIPTS=100000 OPSCONDUCTOR_HOSTILE_SEED=7
// npx vitest run test/hostile-scripts.test.ts (about 70 scripts in a second).
import { afterAll, expect, test, vi } from 'vitest';
import { ScriptRunner, type TestShell } from './shell-scripts/run-scripts.ts';
import { search } from './shell-scripts/search.ts';
import { ensureShells } from './support/packages.ts';

const count = Number(process.env.OPSCONDUCTOR_HOSTILE_SCRIPTS ?? 250);
const seed = Number(process.env.OPSCONDUCTOR_HOSTILE_SEED ?? 1);
const atOnce = 400;
vi.setConfig({ testTimeout: 120_000 + count * 200 });

const shells = await findShells();
const runner = new ScriptRunner(shells);
afterAll(() => runner.remove());

async function findShells(): Promise<TestShell[]> {
  const found = await ensureShells();
  return [
    { name: 'dash as sh', program: 'dash', as: 'sh', isBash: false },
    { name: 'bash as sh', program: 'bash', as: 'sh', isBash: false },
    { name: 'busybox ash as sh', program: 'busybox', as: 'sh', isBash: false },
    { name: 'bash', program: 'bash', as: 'bash', isBash: true },
  ].flatMap(({ program, ...shell }) => {
    const ensured = found.get(program);
    if (ensured === undefined || 'missing' in ensured) return [];
    return [{ ...shell, path: ensured.path, env: ensured.env }];
  });
}

test('there are shells to test', () => {
  expect(shells.map(({ name }) => name)).toContain('dash as sh');
});

test.each(shells)('a value that $name runs is noticed, however it is run, and no other', async (shell) => {
  const prelude = ["v='$(mk7)'"];
  const commands = [
    ...['eval "echo $v"', 'env sh -c "$v"', 'cd /; env -i PATH="$PATH" bash -c "$v"'],
    ...[
      'echo "$v"',
      'sh -c \'echo "$1"\' x "$v"',
      "awk '{ print }' <<E\n$v\nE",
      'awk "{ print \\"$v\\" }"',
      'exit 3',
    ],
  ];
  const scripts = commands.map((command) => ({ command, prelude, environment: {} }));
  const { hits } = await runner.run(shell, scripts);
  expect([...hits].sort()).toEqual([0, 1, 2, 6]);
});

test(`none of ${count} random scripts runs a value if it is accepted`, async () => {
  const first = seed * 10_000_000;
  let accepted = 0;
  for (let from = first; from < first + count; from += atOnce) {
    const some = Math.min(atOnce, first + count - from);
    for (const { script, command, problems, hits } of await search({
      runner,
      shells,
      from,
      count: some,
      rounds: 1,
    })) {
      if (problems.length === 0) accepted += 1;
      const [hit] = hits;
      if (hit === undefined) continue;
      const values = JSON.stringify(hit.values);
      throw new Error(
        `script ${script.seed} (shell: ${script.shell}, environment: ${script.environment ?? 'none'}) in ${hit.shell.name}, with ${values}:\n${command}`,
      );
    }
  }
  expect(accepted).toBeGreaterThan(count / 20);
});
