// Shows problems in the text: the place underlined, its line marked, and below the line of the current problem its
// message, with the fix as a button.
import { type Range, RangeSet, StateEffect, StateField } from '@codemirror/state';
import {
  Decoration,
  type DecorationSet,
  EditorView,
  GutterMarker,
  gutterLineClass,
  WidgetType,
} from '@codemirror/view';
import { codeParts } from '../../format/code-parts.ts';
import { type Fix, type Problem, problemText } from '../check/problems.ts';

export interface Shown {
  problems: readonly Problem[];
  current: Problem | undefined;
  fix: Fix | undefined;
}

export const showProblems = StateEffect.define<Shown>();

interface Marks {
  decorations: DecorationSet;
  gutter: RangeSet<GutterMarker>;
}

class BadLine extends GutterMarker {
  override elementClass = 'cm-bad-number';
}
const badLine = new BadLine();
const underline = Decoration.mark({ class: 'cm-wrong' });
const lineMark = Decoration.line({ class: 'cm-bad-line' });

class MessageWidget extends WidgetType {
  readonly #problem: Problem;
  readonly #fix: Fix | undefined;
  readonly #apply: (fix: Fix) => void;

  constructor(problem: Problem, fix: Fix | undefined, apply: (fix: Fix) => void) {
    super();
    this.#problem = problem;
    this.#fix = fix;
    this.#apply = apply;
  }

  override eq(other: MessageWidget): boolean {
    return (
      this.#problem.message === other.#problem.message &&
      this.#problem.line === other.#problem.line &&
      this.#fix?.text === other.#fix?.text
    );
  }

  override toDOM(): HTMLElement {
    const place = element('div', 'cm-message-place');
    const box = element('div', 'cm-message');
    place.append(box);
    const [first = '', ...rest] = problemText(this.#problem)
      .replace(/^Line \d+, column \d+: /, '')
      .split(/(?<=[.?]) /);
    const head = element('b', '');
    head.append(...withCode(first));
    box.append(head);
    if (rest.length > 0) box.append(' ', ...withCode(rest.join(' ')));
    const fix = this.#fix;
    if (fix !== undefined) {
      if (fix.becomes !== undefined) box.append(element('code', 'cm-becomes', fix.becomes));
      const row = element('div', 'cm-message-row');
      const button = element('button', 'cm-fix', fix.label);
      button.setAttribute('type', 'button');
      button.append(' ', element('kbd', '', 'Ctrl .'));
      button.addEventListener('click', () => this.#apply(fix));
      row.append(button);
      box.append(row);
    }
    return place;
  }

  override ignoreEvent(): boolean {
    return true;
  }
}

function element(name: string, className: string, text?: string): HTMLElement {
  const made = document.createElement(name);
  if (className !== '') made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Splits a text so that what is in backticks becomes code. */
function withCode(text: string): (string | HTMLElement)[] {
  return codeParts(text).map((part) => (part.isCode ? element('code', '', part.text) : part.text));
}

export function problemMarks(apply: (fix: Fix) => void) {
  const empty: Marks = { decorations: Decoration.none, gutter: RangeSet.empty };
  const field = StateField.define<Marks>({
    create: () => empty,
    update(marks, transaction) {
      for (const effect of transaction.effects)
        if (effect.is(showProblems)) return marksOf(effect.value, transaction.state.doc, apply);
      if (!transaction.docChanged) return marks;
      return {
        decorations: marks.decorations.map(transaction.changes),
        gutter: marks.gutter.map(transaction.changes),
      };
    },
    provide: (self) => [
      EditorView.decorations.from(self, (marks) => marks.decorations),
      gutterLineClass.from(self, (marks) => marks.gutter),
    ],
  });
  return field;
}

function marksOf(
  { problems, current, fix }: Shown,
  doc: EditorView['state']['doc'],
  apply: (fix: Fix) => void,
): Marks {
  const ranges: Range<Decoration>[] = [];
  const numbers = new Map<number, Range<GutterMarker>>();
  for (const problem of problems) {
    const from = Math.min(problem.from, doc.length);
    const to = Math.min(Math.max(problem.to, from), doc.length);
    const line = doc.lineAt(from);
    if (!numbers.has(line.from)) {
      numbers.set(line.from, badLine.range(line.from));
      ranges.push(lineMark.range(line.from));
    }
    if (to > from) ranges.push(underline.range(from, Math.min(to, line.to) || to));
    if (problem === current) {
      const widget = new MessageWidget(problem, fix, apply);
      ranges.push(Decoration.widget({ widget, block: true, side: 1 }).range(line.to));
    }
  }
  return {
    decorations: Decoration.set(
      ranges.filter(({ from, to, value }) => to > from || value !== underline),
      true,
    ),
    gutter: RangeSet.of([...numbers.values()], true),
  };
}
