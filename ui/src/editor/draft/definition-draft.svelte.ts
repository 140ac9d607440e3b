// A definition while it is edited. Its text is the only source of truth: forms show the value that is read from the
// text and edit the text. Also holds the problems, the selection, and what can be undone.
import { checkDefinition, type ErrorDetail, type JobDefinition } from '@opsconductor/protocol';
import { announcer } from '../../state/announcer.svelte.ts';
import { fixFor } from '../check/fixes.ts';
import { lineAndColumn } from '../check/place-in-text.ts';
import { type Fix, type Problem, placeProblems, textProblems } from '../check/problems.ts';
import { type Edit, editDefinition, restoreEntry, textOfEntry } from '../text/edit-definition.ts';
import { isWithin, type Path, valueAt } from '../text/path.ts';
import { type DefinitionText, pathAtOffset, readDefinition, spanOf } from '../text/read-definition.ts';
import { orderOf } from '../text/write-definition.ts';

/** What the left pane shows. */
export type Part = 'steps' | 'parameters' | 'job';

/** A place in the text to scroll to. */
export interface Reveal {
  from: number;
  to: number;
  focus: boolean;
}

export interface Undoable {
  words: string;
  undo(): void;
}

/** Pause in typing before everything is checked again, in ms. */
const checkAfterMs = 150;

export class DefinitionDraft {
  #text = $state.raw('');
  /** The current text, parsed. */
  read: DefinitionText = $state.raw(readDefinition(''));
  /** The value from the last time that the text could be parsed. */
  value: unknown = $state.raw({});
  /** The text that counts as saved. */
  saved = $state.raw('');
  checked: readonly Problem[] = $state.raw([]);
  /** The text that was last checked. */
  #checkedText: string | undefined = $state.raw();
  #told: { text: string; details: readonly ErrorDetail[] } = $state.raw({ text: '', details: [] });
  part: Part = $state('steps');
  /** Index of the open step; -1 for none. */
  step = $state(0);
  /** Keys of the steps, which stay with them when they move. */
  stepIds: readonly number[] = $state.raw([]);
  cursor = $state.raw({ offset: 0, line: 1, column: 1 });
  /** A place that the text editor should scroll to now. */
  reveal: Reveal | undefined = $state.raw();
  undoable: Undoable | undefined = $state.raw();
  #nextId = 1;
  #timer: ReturnType<typeof setTimeout> | undefined;

  readonly readable = $derived(this.read.problems.length === 0);
  readonly definition = $derived(Object(this.value) as Partial<JobDefinition>);
  readonly steps = $derived(
    Array.isArray(this.definition.steps) ? (this.definition.steps as unknown[]).map(asRecord) : [],
  );
  readonly changed = $derived(this.#text !== this.saved);
  /** Whether `problems` are those of the current text; while someone types, they are those of an earlier one. */
  readonly isChecked = $derived(this.readable && this.#checkedText === this.#text);
  /** All problems, in text order. */
  readonly problems: readonly Problem[] = $derived.by(() => {
    if (this.read.problems.length > 0) return textProblems(this.read);
    const told = this.#told.text === this.#text ? placeProblems(this.read, this.#told.details) : [];
    const known = new Set(this.checked.map(({ path }) => path));
    return [...this.checked, ...told.filter(({ path }) => !known.has(path))].toSorted(
      (a, b) => a.from - b.from,
    );
  });
  /**
   * Whether the definition itself is wrong, which blocks saving. Problems that the server found don't count, as they
   * may be fixed elsewhere.
   */
  readonly broken = $derived(this.read.problems.length > 0 || this.checked.length > 0);
  /** The problem whose message is shown in the text: the one at the cursor, otherwise the first. */
  readonly current: Problem | undefined = $derived.by(() => {
    const { line } = this.cursor;
    return this.problems.find((one) => one.line === line) ?? this.problems[0];
  });
  readonly fix: Fix | undefined = $derived(this.current === undefined ? undefined : this.fixOf(this.current));

  constructor(text: string, saved = text) {
    this.saved = saved;
    this.setText(text);
    this.check();
  }

  get text(): string {
    return this.#text;
  }

  setText(text: string): void {
    if (text === this.#text) return;
    this.#text = text;
    this.read = readDefinition(text);
    if (this.read.problems.length === 0) {
      this.value = this.read.value;
      this.#matchIds();
      this.checked = shiftedTo(this.read, this.checked);
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.check(), checkAfterMs);
  }

  /** Checks immediately. */
  check(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.read.problems.length > 0) return;
    this.checked = placeProblems(this.read, checkDefinition(this.read.value));
    this.#checkedText = this.#text;
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  /** Takes what the server said about the text that was sent to it. */
  tell(text: string, details: readonly ErrorDetail[]): void {
    this.#told = { text, details };
  }

  fixOf(problem: Problem): Fix | undefined {
    return this.readable ? fixFor(this.read, problem) : undefined;
  }

  apply(fix: Fix): void {
    this.setText(fix.text);
    this.check();
    announcer.say(
      this.problems.length === 0 ? 'Fixed; no errors left' : `Fixed; ${this.problems.length} left`,
    );
  }

  edit(edit: Edit): void {
    if (!this.readable) return;
    this.setText(editDefinition(this.#text, edit, { orderOf }));
  }

  /** Sets the value of a field; `undefined` removes the key, and its parent if that is `prunable` and becomes empty. */
  set(path: Path, value: unknown): void {
    if (value !== undefined) {
      this.edit({ kind: 'set', path, value });
      return;
    }
    if (valueAt(this.value, path) === undefined) return;
    const parent = path.slice(0, -1);
    const others = Object.keys(Object(valueAt(this.value, parent))).length - 1;
    if (others === 0 && prunable.has(String(parent.at(-1)))) this.edit({ kind: 'remove', path: parent });
    else this.edit({ kind: 'remove', path });
  }

  at(path: Path): unknown {
    return valueAt(this.value, path);
  }

  /** Selects what is at an offset in the text. */
  moveCursor(offset: number, line: number, column: number): void {
    this.cursor = { offset, line, column };
    const path = pathAtOffset(this.read, offset);
    if (path[0] === 'steps' && typeof path[1] === 'number') {
      this.part = 'steps';
      this.step = path[1];
    } else if (path[0] === 'parameters' || path[0] === 'rules') this.part = 'parameters';
    else if (path.length > 0 && path[0] !== 'steps') this.part = 'job';
  }

  /** Scrolls the text to a place and puts the cursor there. */
  show(path: Path, focus = false): void {
    const { from, to } = spanOf(this.read, path);
    this.reveal = { from, to: Math.min(to, from), focus };
    this.cursor = { offset: from, ...lineAndColumn(this.#text, from) };
  }

  goTo(problem: Problem, focus = true): void {
    this.reveal = { from: problem.from, to: problem.to, focus };
    this.moveCursor(problem.from, problem.line, problem.column);
    announcer.say(`Line ${problem.line}: ${problem.message}`);
  }

  /** Goes to the next problem after the cursor, wrapping around. */
  nextProblem(): void {
    const next = this.problems.find(({ from }) => from > this.cursor.offset) ?? this.problems[0];
    if (next !== undefined) this.goTo(next);
  }

  openStep(at: number): void {
    this.part = 'steps';
    this.step = this.step === at ? -1 : at;
    if (this.step >= 0) this.show(['steps', at]);
  }

  /** Opens the step of that name, if there is one. */
  openNamed(name: string): void {
    const at = this.steps.findIndex((step) => step.name === name);
    if (at < 0) return;
    this.step = at;
    this.show(['steps', at]);
  }

  addStep(value: Record<string, unknown>, at = this.steps.length): void {
    this.edit({ kind: 'insert', path: ['steps'], at, value });
    this.#spliceId(at, 0, this.#nextId++);
    this.step = at;
    this.show(['steps', at]);
    announcer.say(`Step ${String(value.name)} added as ${at + 1} of ${this.steps.length}`);
  }

  moveStep(from: number, to: number): boolean {
    if (to < 0 || to >= this.steps.length || from === to || !this.readable) return false;
    const name = this.#nameOf(from);
    this.edit({ kind: 'move', path: ['steps'], from, to });
    const ids = [...this.stepIds];
    ids.splice(to, 0, ...ids.splice(from, 1));
    this.stepIds = ids;
    if (this.step === from) this.step = to;
    else if (this.step >= 0)
      this.step += (from < this.step ? -1 : 0) + (to < this.step || (to === this.step && from > to) ? 1 : 0);
    announcer.say(`Step ${name} is now ${to + 1} of ${this.steps.length}`);
    return true;
  }

  duplicateStep(at: number): void {
    const step = this.steps[at];
    if (step === undefined) return;
    const { id: _, ...rest } = structuredClone($state.snapshot(step)) as Record<string, unknown>;
    const raw = textOfEntry(this.#text, ['steps'], at);
    const name = freeName(
      `${this.#nameOf(at)} (copy)`,
      this.steps.map((one) => String(one.name)),
    );
    const value = { ...rest, name };
    if (raw === undefined || step.id !== undefined) this.addStep(value, at + 1);
    else {
      const body = raw.replace(/^(?:[ \t]*#.*\n)+/, '');
      const before = restoreEntry(this.#text, ['steps'], at + 1, body, {
        kind: 'insert',
        path: ['steps'],
        at: at + 1,
        value: step,
      });
      this.setText(before);
      this.#spliceId(at + 1, 0, this.#nextId++);
      this.edit({ kind: 'set', path: ['steps', at + 1, 'name'], value: name });
      this.step = at + 1;
      this.show(['steps', at + 1]);
      announcer.say(`Step ${name} added as ${at + 2} of ${this.steps.length}`);
    }
  }

  removeStep(at: number): void {
    const value = this.steps[at];
    if (value === undefined || !this.readable) return;
    const [before, raw, name] = [this.#text, textOfEntry(this.#text, ['steps'], at) ?? '', this.#nameOf(at)];
    const id = this.stepIds[at] ?? this.#nextId++;
    this.edit({ kind: 'remove', path: ['steps', at], whole: true });
    const after = this.#text;
    this.#spliceId(at, 1);
    if (this.step >= at) this.step = this.step === at ? -1 : this.step - 1;
    this.undoable = {
      words: `Step ${name} is deleted.`,
      undo: () => {
        const place = Math.min(at, this.steps.length);
        const edit: Edit = { kind: 'insert', path: ['steps'], at: place, value };
        this.setText(this.#text === after ? before : restoreEntry(this.#text, ['steps'], place, raw, edit));
        this.#spliceId(place, 0, id);
        this.step = place;
        this.undoable = undefined;
        announcer.say(`Step ${name} is back as ${place + 1} of ${this.steps.length}`);
      },
    };
    announcer.say(`Step ${name} is deleted; Undo brings it back`);
  }

  /** Removes any other part of the definition such that it can be restored. */
  removeWhole(path: Path, words: string): void {
    const before = this.#text;
    this.edit({ kind: 'remove', path, whole: true });
    const after = this.#text;
    this.undoable = {
      words,
      undo: () => {
        if (this.#text === after) this.setText(before);
        else this.edit({ kind: 'set', path, value: valueAt(readDefinition(before).value, path) });
        this.undoable = undefined;
      },
    };
    announcer.say(`${words} Undo brings it back`);
  }

  #nameOf(at: number): string {
    const name = this.steps[at]?.name;
    return typeof name === 'string' && name !== '' ? name : String(at + 1);
  }

  #spliceId(at: number, gone: number, ...ids: number[]) {
    // Reading the text has already adjusted the ids to its number of steps, at the end of the list.
    const expected = this.steps.length;
    const kept = [...this.#before];
    kept.splice(at, gone, ...ids);
    if (kept.length === expected) this.stepIds = kept;
  }

  #before: readonly number[] = [];
  #matchIds() {
    this.#before = this.stepIds;
    const count = this.steps.length;
    if (count === this.stepIds.length) return;
    const ids = this.stepIds.slice(0, count);
    this.stepIds = [...ids, ...Array.from({ length: count - ids.length }, () => this.#nextId++)];
  }
}

/** Maps and lists that are removed when they become empty. */
const prunable = new Set([
  'strategy',
  'locks',
  'rules',
  'labels',
  'connection',
  'environment',
  'limits',
  'retry',
  'outputs',
  'parameters',
  'properties',
]);

function asRecord(value: unknown): Record<string, unknown> {
  return Object(value) as Record<string, unknown>;
}

/** The previous problems, moved to where they are now, until everything has been checked again. */
function shiftedTo(read: DefinitionText, problems: readonly Problem[]): Problem[] {
  return placeProblems(
    read,
    problems.map(({ path, message, found, allowed }) => ({
      path,
      message,
      ...(found === undefined ? {} : { found }),
      ...(allowed === undefined ? {} : { allowed }),
    })),
  );
}

export function freeName(wanted: string, taken: readonly string[]): string {
  if (!taken.includes(wanted)) return wanted;
  for (let number = 2; ; number += 1) {
    const name = `${wanted} ${number}`;
    if (!taken.includes(name)) return name;
  }
}

export function problemsOfStep(problems: readonly Problem[], at: number): number {
  return problems.filter(({ place }) => isWithin(place, ['steps', at])).length;
}
