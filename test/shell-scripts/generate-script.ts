// Random scripts as people write them, with placeholders at places that may be safe or not. The same seed gives the same
// scripts. They are harmless unless something runs a value.
import { Commands } from './commands.ts';
import { Draft, type Form, variableNames } from './draft.ts';
import { type Move, moveValue } from './moves.ts';
import { mutated } from './mutations.ts';
import { useOf } from './uses.ts';

export interface GeneratedScript {
  seed: number;
  shell: 'sh' | 'bash';
  /** `⟪0⟫` stands for the first placeholder. */
  text: string;
  forms: Form[];
  /** Variable of the step's environment that holds a value of its own. */
  environment?: string;
}

export function generateScript(seed: number): GeneratedScript {
  const draft = new Draft(seed);
  const commands = new Commands(draft);
  const shell = draft.chance(0.4) ? 'bash' : 'sh';
  let text = draft.chance(0.5) ? chain(draft, commands) : lines(draft, commands);
  if (draft.forms.length === 0) text += `\necho ${draft.hole('word')}`;
  if (draft.chance(0.3)) text = mutated(draft, text);
  const { forms, environment } = draft;
  return { seed, shell, text, forms, ...(environment === undefined ? {} : { environment }) };
}

function lines(draft: Draft, commands: Commands): string {
  const statements = Array.from({ length: 1 + draft.number(4) }, () => commands.statement());
  return statements.join(draft.pick(['\n', '\n', '\n', '; ']));
}

/** A value goes into a variable, from there into others, and from the last to where it may be run. */
function chain(draft: Draft, commands: Commands): string {
  const lines: string[] = [];
  let from = draft.pick(variableNames);
  const wrap: ((rest: string) => string)[] = [];
  const put = (made: Move) => {
    if (typeof made === 'string') lines.push(made);
    else {
      const before = lines.splice(0).join('\n');
      wrap.push((rest) => (before === '' ? made(rest) : `${before}\n${made(rest)}`));
    }
  };
  put(moveValue(draft, from, undefined));
  for (let more = draft.number(3); more > 0; more -= 1) {
    const to = draft.pick(variableNames);
    put(moveValue(draft, to, from));
    from = to;
    if (draft.chance(0.2)) lines.push(commands.statement());
  }
  lines.push(useOf(draft, from));
  return wrap.reduceRight((rest, around) => around(rest), lines.join('\n'));
}
