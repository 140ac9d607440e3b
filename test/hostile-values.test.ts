// Hostile values in every kind of place in a script, through real shells, byte for byte. Runs exactly what the agent
// would send: its renderer makes the script, and its delivery wraps it. A value treated as more than text would create
// a file where the script runs.
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  checkStep,
  parseTemplate,
  type RenderScope,
  renderStep,
  type SshExecConfig,
} from '@opsconductor/protocol';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { runInShell } from '../agent/src/steps/ssh-exec/attempt-shell-setup.ts';
import { scriptInput } from '../agent/src/steps/ssh-exec/ssh-exec-run.ts';
import type { StepContext } from '../agent/src/steps/step-type.ts';
import { shellReference } from '../protocol/src/rendering/sh/write-script.ts';
import { valuesFor } from '../protocol/src/rendering/testing.ts';
import { hostileStrings, seeded } from './support/hostile-strings.ts';
import { ensureShells } from './support/packages.ts';

// For a longer search: OPSCONDUCTOR_HOSTILE_STRINGS=200000 OPSCONDUCTOR_HOSTILE_SEED=7
// OPSCONDUCTOR_HOSTILE_EVERYWHERE=1. The first test also renders for the others, which takes a core several seconds,
// and more on a busy machine.
vi.setConfig({ testTimeout: 180_000 });

const count = Number(process.env.OPSCONDUCTOR_HOSTILE_STRINGS ?? 4_000);
/**
 * Each string in each place of each shell, which takes 6 times as long; otherwise only in the first three, and a third
 * of them elsewhere.
 */
const everywhere = process.env.OPSCONDUCTOR_HOSTILE_EVERYWHERE === '1';
const seed = Number(process.env.OPSCONDUCTOR_HOSTILE_SEED ?? 1);
const batchSize = 250;
const strings = hostileStrings(count, seed);

interface Shell {
  name: string;
  path: string;
  env: Record<string, string>;
  /** The name it is called by, which determines how it behaves. */
  as: string;
  /** The shell that the step names; by default `sh`. */
  shell?: 'bash';
}
const shells = await findShells();

async function findShells(): Promise<Shell[]> {
  const found = await ensureShells();
  const shell = (name: string, as: string, label: string, more: Partial<Shell> = {}): Shell[] => {
    const program = found.get(name);
    if (program === undefined || 'missing' in program) return [];
    return [{ name: label, path: program.path, env: program.env, as, ...more }];
  };
  return [
    ...shell('dash', 'sh', 'dash as sh'),
    ...shell('bash', 'sh', 'bash as sh'),
    ...shell('busybox', 'sh', 'busybox ash as sh'),
    ...shell('zsh', 'sh', 'zsh as sh'),
    ...shell('zsh', 'zsh', 'zsh as itself'),
    ...shell('dash', 'sh', 'bash by dash', { shell: 'bash' }),
  ];
}

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hostile-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function scopeOf(names: readonly string[], type: 'string' | 'integer' | 'number' = 'string'): RenderScope {
  const parameter = { type, allow_leading_dash: true };
  return {
    path: 'steps[0]',
    parameters: Object.fromEntries(names.map((name) => [name, parameter])),
    steps: {},
  };
}

/** Renders as an agent does, and runs what it would send, in `folder`. */
function run(shell: Shell, config: SshExecConfig, scope: RenderScope, values: Record<string, unknown>) {
  return runRendered(shell, render(shell, config, scope, values));
}

function render(shell: Shell, config: SshExecConfig, scope: RenderScope, values: Record<string, unknown>) {
  const own = shell.shell === undefined ? config : { ...config, shell: shell.shell };
  const { rendered, ...rest } = renderStep({ type: 'ssh.exec', config: own }, scope, valuesFor(values));
  if (rendered === undefined) throw new Error(JSON.stringify(rest));
  return { config: rendered.config as SshExecConfig, bindings: rendered.bindings };
}

async function runRendered(shell: Shell, { config, bindings }: ReturnType<typeof render>): Promise<Buffer> {
  const input = scriptInput(config, { marker: 'm.1.1', bindings } as Partial<StepContext> as StepContext);
  const { stdout, stderr, status } = await runInShell(shell.path, input, {
    argv0: shell.as,
    cwd: folder,
    env: { PATH: process.env.PATH, LC_ALL: 'C.UTF-8', ...shell.env },
  });
  if (status !== 0) throw new Error(`${shell.name} ended with ${status}: ${stderr.slice(0, 2_000)}`);
  return stdout;
}

const separator = '\x02 end of one value \x02';

/** A kind of place: what is written there once or for each value, and what is printed for one. */
interface Place {
  what: string;
  write(placeholders: readonly string[]): string;
  expected(value: string): string;
  /** What is printed after all of them. */
  end?: string;
  shells?: (shell: Shell) => boolean;
}
const each = (line: (placeholder: string) => string) => (placeholders: readonly string[]) =>
  placeholders.map(line).join('\n');
const document = (placeholders: readonly string[]) =>
  `cat <<END_OF_ALL\n${placeholders.map((value) => `<${value}>${separator}`).join('\n')}\nEND_OF_ALL`;
const same = (value: string) => `${value}\0`;
const between = (value: string) => `<${value}>\0`;
const inDocument = (value: string) => `<${value}>${separator}\n`;

const places: Place[] = [
  { what: 'a word', write: each((value) => `printf '%s\\0' ${value}`), expected: same },
  { what: 'double quotes', write: each((value) => `printf '%s\\0' "<${value}>"`), expected: between },
  { what: 'a here-document', write: document, expected: inDocument },
  { what: 'a part of a word', write: each((value) => `printf '%s\\0' \\<${value}'>'`), expected: between },
  {
    what: 'an assignment',
    write: each((value) => `x=${value}; y="<$x>"; printf '%s\\0' "$y"`),
    expected: between,
  },
  {
    what: 'an argument of a function',
    write: (values) => `f() { printf '%s\\0' "$1"; }\n${values.map((value) => `f ${value}`).join('\n')}`,
    expected: same,
  },
  {
    what: 'the words of a loop',
    write: (values) => `for x in ${values.join(' ')}; do printf '%s\\0' "$x"; done`,
    expected: same,
  },
  {
    what: 'a comparison',
    write: each(
      (value) =>
        `x=${value}; if [ "$x" = ${value} ]; then case ${value} in "$x") printf '%s\\0' "$x" ;; esac; fi`,
    ),
    expected: same,
  },
  {
    what: 'a here-document in $(…)',
    write: (values) => `printf '%s\\n' "$(\n${document(values)}\n)"`,
    expected: inDocument,
  },
  {
    what: 'a word in $(…)',
    write: (values) =>
      `printf '%s>' "$(\n${each((value) => `printf '%s' ${value}"${separator}"`)(values)}\n)"`,
    expected: (value) => `${value}${separator}`,
    end: '>',
  },
  {
    what: 'double quotes in $(…) in double quotes',
    write: (values) =>
      `printf '%s>' "$(\n${each((value) => `printf '%s' "<${value}>${separator}"`)(values)}\n)"`,
    expected: (value) => `<${value}>${separator}`,
    end: '>',
  },
  {
    what: 'an array of bash',
    write: (values) => `a=(${values.join(' ')}); printf '%s\\0' "\${a[@]}"`,
    expected: same,
    shells: ({ shell }) => shell === 'bash',
  },
  {
    what: 'a here-string of bash',
    write: (values) => `cat <<<"${values.map((value) => `<${value}>${separator}\n`).join('')}"`,
    expected: inDocument,
    end: '\n',
    shells: ({ shell }) => shell === 'bash',
  },
];

interface Batch {
  names: string[];
  values: string[];
  given: Record<string, string>;
  /** The rendered step with each value in every place where it is tried, for sh and for bash. */
  rendered: Map<string, { places: Place[]; step: ReturnType<typeof render> }>;
}
const batches: Batch[] = Array.from({ length: Math.ceil(strings.length / batchSize) }, (_, at) => {
  const values = strings.slice(at * batchSize, (at + 1) * batchSize);
  const names = values.map((_, index) => `v${index}`);
  return {
    names,
    values,
    given: Object.fromEntries(values.map((value, index) => [`v${index}`, value])),
    rendered: new Map(),
  };
});

/** A step that puts each value of the batch into the places where it is tried. */
function stepOf(shell: Shell, batch: Batch, at: number) {
  const key = shell.shell ?? 'sh';
  const before = batch.rendered.get(key);
  if (before !== undefined) return before;
  const chosen = places.filter(
    ({ shells = () => true }, index) =>
      shells(shell) && (everywhere || index < 3 || (index + at) % 3 === 0 || index >= places.length - 2),
  );
  const placeholders = batch.names.map((name) => `\${{ parameters.${name} }}`);
  const command = chosen
    .map(({ write }) => `printf '%s\\n' 'the next place'\n${write(placeholders)}`)
    .join('\n');
  const made = { places: chosen, step: render(shell, { command }, scopeOf(batch.names), batch.given) };
  batch.rendered.set(key, made);
  return made;
}

function expectSame(got: Buffer, wanted: Buffer, what: () => string): void {
  if (got.equals(wanted)) return;
  let at = 0;
  while (got[at] === wanted[at]) at += 1;
  const around = (bytes: Buffer) => JSON.stringify(bytes.subarray(Math.max(0, at - 60), at + 60).toString());
  throw new Error(
    `${what}: byte ${at} of ${wanted.length}:\n  wanted ${around(wanted)}\n  got    ${around(got)}`,
  );
}

test('there are shells to test', () => {
  expect(shells.map(({ name }) => name)).toContain('dash as sh');
});

describe.each(shells)('$name', (shell) => {
  test(`carries ${count} hostile strings through every place of a script, byte for byte`, async () => {
    for (const [at, batch] of batches.entries()) {
      const { places, step } = stepOf(shell, batch, at);
      const output = await runRendered(shell, step);
      let from = 0;
      const next = (text: string, what: () => string) => {
        const wanted = Buffer.from(text);
        expectSame(output.subarray(from, from + wanted.length), wanted, what);
        from += wanted.length;
      };
      for (const { what, expected, end = '' } of places) {
        next('the next place\n', () => what);
        for (const value of batch.values) next(expected(value), () => `${what}: ${JSON.stringify(value)}`);
        next(end, () => what);
      }
      expect(output.length).toBe(from);
    }
    expect(readdirSync(folder)).toEqual([]);
  });

  test('passes them in the environment of the step to the shell and its children', async () => {
    for (const { names, values, given } of batches.filter((_, at) => everywhere || at % 4 === 0)) {
      // A system accepts about 2 MB of environment.
      const environment = Object.fromEntries(
        names.map((name) => [`E_${name}`, `\${{ parameters.${name} }}`]),
      );
      const command = `env -0; ${names.map((name) => `printf '%s\\0' "$E_${name}"`).join('; ')}`;
      const output = await run(shell, { command, environment }, scopeOf(names), given);
      const parts = output.toString().split('\0');
      expect(parts.slice(-values.length - 1, -1)).toEqual(values);
      const inherited = new Set(parts);
      for (const [at, value] of values.entries()) expect(inherited.has(`E_${names[at]}=${value}`)).toBe(true);
    }
    expect(readdirSync(folder)).toEqual([]);
  });

  test('enters working directories of any name', async () => {
    const fit = strings.filter(
      (value) => value !== '' && !/[/]/.test(value) && Buffer.byteLength(value) < 250,
    );
    const random = seeded(seed);
    for (let round = 0; round < 12; round += 1) {
      const name = fit[Math.floor(random() * fit.length)] as string;
      if (name === '.' || name === '..') continue;
      const directory = join(folder, 'in', name);
      mkdirSync(directory, { recursive: true });
      const config = {
        command: `printf '%s\\0' "$PWD"`,
        working_directory: `${folder}/in/\${{ parameters.name }}`,
      };
      const output = await run(shell, config, scopeOf(['name']), { name });
      expect(output.toString()).toBe(`${directory}\0`);
      expect(readdirSync(directory)).toEqual([]);
    }
    expect(readdirSync(folder)).toEqual(['in']);
  });

  test('calculates with numbers of any sign, whatever surrounds them', async () => {
    const numbers = [0, 1, -1, 7, -7, 4_294_967_296, -4_294_967_296, 1_000_000_000_000];
    const names = numbers.map((_, at) => `n${at}`);
    const command = names
      .map((name) => {
        const n = `\${{ parameters.${name} }}`;
        return `echo $(( ${n} + 1 )) $((3-${n})) $(( ${n}*${n} )) "$(( -${n} ))" "$([ ${n} -gt 3 ] && echo more)"`;
      })
      .join('\n');
    const given = Object.fromEntries(names.map((name, at) => [name, numbers[at]]));
    const output = await run(shell, { command }, scopeOf(names, 'integer'), given);
    const wrap = (value: bigint) => BigInt.asIntN(64, value);
    const lines = numbers.map((number) => {
      const n = BigInt(number);
      return [wrap(n + 1n), wrap(3n - n), wrap(n * n), wrap(-n), n > 3n ? 'more' : ''].join(' ');
    });
    expect(output.toString()).toBe(`${lines.join('\n')}\n`);
  });
});

test('a value with a NUL is refused before anything is sent, and so is half a surrogate pair', () => {
  for (const value of ['a\0b', '\ud800', 'x\udc00y']) {
    const step = { type: 'ssh.exec', config: { command: 'echo ${{ parameters.v }}' } };
    expect(renderStep(step, scopeOf(['v']), valuesFor({ v: value }))).toMatchObject({ problems: [{}] });
  }
});

// Shows that refusals are justified: written the way the renderer would, these run what is in the value.
const run1 = '$(touch canary)';
const subscript = `a[${run1}]`;
describe.skipIf(shells.length < 6).each([
  ['sh -c "echo ${{ parameters.v }}"', run1, 'quoted', 'dash as sh'],
  ["sh -c 'echo '${{ parameters.v }}", run1, 'word', 'busybox ash as sh'],
  ['eval "echo ${{ parameters.v }}"', run1, 'quoted', 'zsh as sh'],
  ['trap "${{ parameters.v }}" EXIT', 'touch canary', 'quoted', 'dash as sh'],
  ['sh <<E\necho ${{ parameters.v }}\nE', run1, 'document', 'dash as sh'],
  ['printf "%s" "${{ parameters.v }}" | sh', 'touch canary', 'quoted', 'dash as sh'],
  ['awk "BEGIN { print \\"${{ parameters.v }}\\" }"', '" system("touch canary") "', 'quoted', 'dash as sh'],
  ['sed -n "1${{ parameters.v }}" /etc/passwd', 'e touch canary', 'quoted', 'dash as sh'],
  ['find . -maxdepth 0 -exec ${{ parameters.v }} canary \\;', 'touch', 'word', 'dash as sh'],
  ['echo "${{ parameters.v }}" | xargs -I{} sh -c {}', 'touch canary', 'quoted', 'dash as sh'],
  ['echo $(( ${{ parameters.v }} + 1 ))', subscript, 'quoted', 'bash by dash'],
  ['n=${{ parameters.v }}; echo "$((n))"', subscript, 'word', 'bash by dash'],
  ['[[ ${{ parameters.v }} -eq 1 ]] || true', subscript, 'word', 'bash by dash'],
  ['test -v "${{ parameters.v }}" || true', subscript, 'quoted', 'bash by dash'],
  ['s=abc; n=${{ parameters.v }}; echo "${s:$n}"', subscript, 'word', 'bash by dash'],
  ['n=${{ parameters.v }}; echo "${n@P}"', run1, 'word', 'bash by dash'],
  ['n=${{ parameters.v }}; echo "${!n}"', subscript, 'word', 'bash by dash'],
  ['declare -i n; n=${{ parameters.v }}', subscript, 'word', 'bash by dash'],
  ['let "x = ${{ parameters.v }}" || true', subscript, 'quoted', 'bash by dash'],
  ['read -r ${{ parameters.v }} </etc/passwd', subscript, 'word', 'bash by dash'],
  ["printf -v ${{ parameters.v }} '%s' x", subscript, 'word', 'bash by dash'],
  ['a=(1); unset ${{ parameters.v }}', subscript, 'word', 'bash by dash'],
] as const)('refused and dangerous: %s', (command, value, as, shellName) => {
  test('is refused at save, and would run the value', async () => {
    const step = { type: 'ssh.exec', config: { command } };
    expect(checkStep(step, scopeOf(['v'])).length).toBeGreaterThan(0);
    const shell = shells.find(({ name }) => name === shellName) as Shell;
    const text = parseTemplate(command)
      .parts.map((part) =>
        part.kind === 'literal' ? part.text : shellReference('OPS_1', { as, mayBeOption: false }),
      )
      .join('');
    const config: SshExecConfig = {
      command: text,
      ...(shell.shell === undefined ? {} : { shell: shell.shell }),
    };
    // How it ends doesn't matter.
    await runRendered(shell, {
      config,
      bindings: [{ name: 'OPS_1', type: 'string', value, secret: false }],
    }).catch(() => undefined);
    expect(readdirSync(folder)).toContain('canary');
  });
});
