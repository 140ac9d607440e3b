// Asks for each random script whether it is accepted, and runs it with hostile values in real shells.
import { checkStep, type RenderScope, renderStep } from '@opsconductor/protocol';
import { shellAssignments } from '../../protocol/src/rendering/sh/write-script.ts';
import { valuesFor } from '../../protocol/src/rendering/testing.ts';
import { seeded } from '../support/hostile-strings.ts';
import { type GeneratedScript, generateScript } from './generate-script.ts';
import type { RunnableScript, ScriptRunner, TestShell } from './run-scripts.ts';

const hostileValues = [
  ...[
    '$(mk7)',
    '`mk7`',
    'r[$(mk7)]',
    'x; mk7',
    "'; mk7;'",
    '"; mk7;"',
    'x\nmk7\n',
    'mk7',
    ';mk7;',
    '&mk7&',
    '|mk7',
  ],
  ...[
    '|| mk7',
    '&& mk7',
    'a\nE\nmk7\n',
    'x $(mk7)',
    '"$(mk7)"',
    "'$(mk7)'",
    '$((r[$(mk7)]))',
    '${q:=$(mk7)}',
    '<(mk7)',
  ],
  ...[
    'x=$(mk7)',
    'r[$(mk7)]=1',
    'x[$(mk7)]',
    'a=r[$(mk7)]',
    '{mk7,}',
    '{mk7,x}',
    ') mk7 (',
    '); mk7; (',
    '}; mk7; {',
  ],
  ...[
    'fi; mk7; if :; then',
    'done; mk7; do',
    ';; esac; mk7; case x in x)',
    '-c mk7',
    '-exec mk7 ;',
    '. -exec mk7 ;',
  ],
  ...[
    'x -exec mk7 {} +',
    'r[$(mk7)] -v',
    '-v r[$(mk7)]',
    'x -o -v r[$(mk7)]',
    'mk7 #',
    '#\nmk7',
    '\\$(mk7)',
    '\\\nmk7',
  ],
  ...[
    '$(mk7',
    'mk7)',
    "$'\\nmk7'",
    '!mk7',
    '~mk7',
    '1e mk7',
    'e mk7',
    'sh -c mk7',
    'eval mk7',
    'k=mk7',
    '-e mk7',
  ],
  ...[
    "x'$(mk7)",
    'x"$(mk7)',
    'x`mk7`"',
    'a,$(mk7),b',
    '5;mk7',
    '0 r[$(mk7)]',
    '*;mk7',
    '$(mk7):x',
    "';mk7 #",
    '";mk7 #',
  ],
  ...[
    '-p r[$(mk7)]',
    '- mk7',
    '-- mk7',
    '-a -v r[$(mk7)]',
    'PATH=.',
    '-f mk7',
    '|mk7|',
    '>(mk7)',
    '$[r[$(mk7)]]',
    'i=r[$(mk7)]',
    'x mk7',
    ' mk7 x',
    '=x mk7',
  ],
];

export interface Tried {
  script: GeneratedScript;
  command: string;
  problems: string[];
  runs: number;
  hits: { shell: TestShell; values: Record<string, unknown> }[];
  /** Runs that did not end in time. */
  stuck: number;
}

function stepOf({ text, shell, environment, forms }: GeneratedScript) {
  const command = text.replaceAll(/⟪(\d+)⟫/g, (_, at: string) =>
    forms[Number(at)] === 'number' ? `\${{ parameters.n${at} }}` : `\${{ parameters.t${at} }}`,
  );
  return {
    type: 'ssh.exec' as const,
    config: {
      command,
      shell,
      ...(environment === undefined ? {} : { environment: { [environment]: '${{ parameters.e }}' } }),
    },
  };
}

function scopeFor({ forms }: GeneratedScript): RenderScope {
  const parameters: RenderScope['parameters'] = { e: { type: 'string' } };
  for (const [at, form] of forms.entries())
    parameters[form === 'number' ? `n${at}` : `t${at}`] = { type: form === 'number' ? 'integer' : 'string' };
  return { path: 'steps[0]', parameters, steps: {} };
}

/** Renders as an agent would; what is refused, the way it would be written if it were not. */
function runnable(script: GeneratedScript, accepted: boolean, random: () => number) {
  const values: Record<string, unknown> = {};
  const pick = () => hostileValues[Math.floor(random() * hostileValues.length)] as string;
  const same = pick();
  for (const [at, form] of script.forms.entries()) {
    if (form === 'number') values[`n${at}`] = [5, 0, -7][Math.floor(random() * 3)];
    else values[`t${at}`] = random() < 0.5 ? same : pick();
  }
  values.e = pick();
  const environment = script.environment === undefined ? {} : { [script.environment]: values.e as string };
  if (accepted) {
    const { rendered } = renderStep(stepOf(script), scopeFor(script), valuesFor(values));
    if (rendered === undefined) return undefined;
    const { command } = rendered.config as { command: string };
    return {
      values,
      run: { command, prelude: shellAssignments(rendered.bindings), environment } satisfies RunnableScript,
    };
  }
  const names = script.forms.map((form, at) => (form === 'number' ? `n${at}` : `t${at}`));
  const prelude = shellAssignments(
    names.map((name, at) => ({ name: `OPS_${at}`, type: 'string', value: values[name], secret: false })),
  );
  const command = script.text.replaceAll(/⟪(\d+)⟫/g, (_, at: string) => {
    const form = script.forms[Number(at)];
    return form === 'word' ? `"\${OPS_${at}}"` : form === 'number' ? `(\${OPS_${at}})` : `\${OPS_${at}}`;
  });
  return { values, run: { command, prelude, environment } };
}

export interface SearchOptions {
  runner: ScriptRunner;
  shells: readonly TestShell[];
  from: number;
  count: number;
  /** How often each accepted script is run in each shell. */
  rounds: number;
  /** How often each refused script is run; 0 for those that only accepted ones interest. */
  refusedRounds?: number;
}

export async function search({
  runner,
  shells,
  from,
  count,
  rounds,
  refusedRounds = 0,
}: SearchOptions): Promise<Tried[]> {
  const tried: Tried[] = [];
  for (let seed = from; seed < from + count; seed += 1) {
    const script = generateScript(seed);
    const problems = checkStep(stepOf(script), scopeFor(script)).map(({ message }) => message);
    tried.push({
      script,
      command: stepOf(script).config.command,
      problems,
      runs: 0,
      hits: [],
      stuck: 0,
    });
  }
  for (const [at, shell] of shells.entries()) {
    const batch: { of: Tried; run: RunnableScript; values: Record<string, unknown> }[] = [];
    for (const each of tried) {
      const accepted = each.problems.length === 0;
      if ((each.script.shell === 'bash') !== shell.isBash) continue;
      for (let round = 0; round < (accepted ? rounds : refusedRounds); round += 1) {
        const random = seeded(each.script.seed * 1_000 + at * 100 + round);
        random();
        // Values that are refused at the start, such as options, are replaced by others.
        let made: ReturnType<typeof runnable>;
        for (let attempt = 0; made === undefined && attempt < 5; attempt += 1)
          made = runnable(each.script, accepted, random);
        if (made !== undefined) batch.push({ of: each, run: made.run, values: made.values });
      }
    }
    for (let start = 0; start < batch.length; start += 200) {
      const part = batch.slice(start, start + 200);
      const { hits, stuck } = await runner.run(
        shell,
        part.map(({ run }) => run),
      );
      for (const [index, { of, values }] of part.entries()) {
        of.runs += 1;
        if (hits.has(index)) of.hits.push({ shell, values });
      }
      for (const index of stuck) (part[index] as (typeof part)[0]).of.stuck += 1;
    }
  }
  return tried;
}
