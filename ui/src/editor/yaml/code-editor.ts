// The text editor: CodeMirror in a shadow root, where its styles are constructed style sheets, which the console's
// content security policy allows. Loaded only when a definition is edited.
import {
  autocompletion,
  closeBrackets,
  closeBracketsKeymap,
  completionKeymap,
} from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap, indentWithTab } from '@codemirror/commands';
import { yaml } from '@codemirror/lang-yaml';
import { bracketMatching, indentOnInput, indentUnit } from '@codemirror/language';
import { highlightSelectionMatches, search, searchKeymap } from '@codemirror/search';
import { Annotation, EditorState } from '@codemirror/state';
import {
  Decoration,
  drawSelection,
  EditorView,
  highlightActiveLine,
  highlightActiveLineGutter,
  keymap,
  lineNumbers,
  MatchDecorator,
  ViewPlugin,
} from '@codemirror/view';
import type { Fix } from '../check/problems.ts';
import { type CompletionScope, completions } from './completion.ts';
import { problemMarks, type Shown, showProblems } from './problem-marks.ts';
import { colors, look } from './theme.ts';

export interface CodeEditorOptions {
  host: HTMLElement;
  text: string;
  label: string;
  scope: CompletionScope;
  onText(text: string): void;
  onCursor(offset: number, line: number, column: number): void;
  onFix(fix: Fix): void;
}

/** Marks a change that did not come from typing. */
const outside = Annotation.define<boolean>();

const placeholder = Decoration.mark({ class: 'cm-placeholder-mark' });
const placeholders = ViewPlugin.define(
  (view) => {
    const marks = new MatchDecorator({ regexp: /\$\{\{.*?\}\}/g, decoration: placeholder });
    let decorations = marks.createDeco(view);
    return {
      get decorations() {
        return decorations;
      },
      update(update) {
        decorations = marks.updateDeco(update, decorations);
      },
    };
  },
  { decorations: (plugin) => plugin.decorations },
);

/**
 * Handles typing over or deleting several selected lines. The browser would join the remaining pieces in elements with
 * inline styles, which the content security policy blocks and reports.
 */
const overLines = EditorView.domEventHandlers({
  beforeinput(event, view) {
    const { state } = view;
    const { from, to } = state.selection.main;
    const text = event.inputType.startsWith('delete')
      ? ''
      : event.inputType === 'insertText'
        ? event.data
        : null;
    if (text === null || view.composing || to <= state.doc.lineAt(from).to) return false;
    const userEvent = text === '' ? 'delete.selection' : 'input.type';
    const insert = () => state.update(state.replaceSelection(text), { userEvent, scrollIntoView: true });
    const isHandled = state.facet(EditorView.inputHandler).some((one) => one(view, from, to, text, insert));
    if (!isHandled) view.dispatch(insert());
    event.preventDefault();
    return true;
  },
});

export class CodeEditor {
  readonly #view: EditorView;

  constructor(options: CodeEditorOptions) {
    const root = options.host.shadowRoot ?? options.host.attachShadow({ mode: 'open' });
    this.#view = new EditorView({
      root,
      parent: root,
      state: EditorState.create({ doc: options.text, extensions: extensions(options) }),
    });
  }

  /** Replaces the text with the smallest change, so that undo history, cursor and scroll position stay. */
  setText(text: string): void {
    const before = this.#view.state.doc.toString();
    if (before === text) return;
    const change = differenceOf(before, text);
    this.#view.dispatch({ changes: change, annotations: [outside.of(true)] });
  }

  show(shown: Shown): void {
    this.#view.dispatch({ effects: showProblems.of(shown) });
    this.#showMessage();
  }

  /** Scrolls to an offset and puts the cursor there. */
  reveal(from: number, focus: boolean): void {
    const at = Math.min(from, this.#view.state.doc.length);
    this.#view.dispatch({
      selection: { anchor: at },
      annotations: [outside.of(true)],
      effects: EditorView.scrollIntoView(at, { y: 'nearest', yMargin: 60 }),
    });
    if (focus) this.#view.focus();
    this.#showMessage();
  }

  /** Scrolls so that a message below the cursor's line is fully visible; the editor itself only reveals the line. */
  #showMessage(): void {
    const view = this.#view;
    const missing = (): number => {
      const line = view.lineBlockAt(view.state.selection.main.head);
      const place = view.contentDOM.querySelector('.cm-message-place');
      if (place === null || view.posAtDOM(place) > line.to || view.posAtDOM(place) < line.from) return 0;
      return place.getBoundingClientRect().bottom - view.scrollDOM.getBoundingClientRect().bottom;
    };
    const write = (pixels: number) => {
      if (pixels > 0) view.scrollDOM.scrollTop += pixels;
    };
    // Wait one more measure phase: the first one comes before the scrolling that is already scheduled.
    view.requestMeasure({ read: () => view.requestMeasure({ read: missing, write }) });
  }

  select(anchor: number, head: number): void {
    this.#view.dispatch({ selection: { anchor, head }, scrollIntoView: true });
  }

  focus(): void {
    this.#view.focus();
  }

  close(): void {
    this.#view.destroy();
  }
}

function extensions(options: CodeEditorOptions) {
  return [
    lineNumbers(),
    highlightActiveLineGutter(),
    history(),
    drawSelection(),
    indentOnInput(),
    indentUnit.of('  '),
    EditorState.tabSize.of(2),
    bracketMatching(),
    closeBrackets(),
    highlightActiveLine(),
    highlightSelectionMatches(),
    search({ top: true }),
    yaml(),
    look,
    colors,
    placeholders,
    overLines,
    problemMarks(options.onFix),
    EditorView.lineWrapping,
    EditorView.contentAttributes.of({
      'aria-label': options.label,
      spellcheck: 'false',
      autocapitalize: 'off',
    }),
    autocompletion({ override: [completions(options.scope)], icons: false }),
    keymap.of([
      { key: 'Enter', run: indentBelowKey },
      ...closeBracketsKeymap,
      // F8 and Ctrl . belong to the page.
      ...defaultKeymap.filter(({ key }) => key !== 'F8'),
      ...searchKeymap,
      ...historyKeymap,
      ...completionKeymap,
      indentWithTab,
    ]),
    EditorView.updateListener.of((update) => {
      const fromOutside = update.transactions.some((one) => one.annotation(outside) === true);
      if (update.docChanged && !fromOutside) options.onText(update.state.doc.toString());
      if ((update.selectionSet || update.docChanged) && !fromOutside) tellCursor(update.view, options);
    }),
  ];
}

/** After a key whose value comes below it, the next line is indented. */
function indentBelowKey({ state, dispatch }: EditorView): boolean {
  const { from, to, empty } = state.selection.main;
  const line = state.doc.lineAt(from);
  const before = line.text.slice(0, from - line.from);
  const opens = /^( *)((?:- +)*)[\w"'.-]+:(?: +[|>][-+]?)?(?: +#.*)?$/.exec(before);
  if (!empty || to !== line.to || opens === null) return false;
  const columns = (opens[1] ?? '').length + (opens[2] ?? '').length + 2;
  const insert = `\n${' '.repeat(columns)}`;
  dispatch(
    state.update({
      changes: { from, insert },
      selection: { anchor: from + insert.length },
      scrollIntoView: true,
      userEvent: 'input',
    }),
  );
  return true;
}

function tellCursor(view: EditorView, options: CodeEditorOptions) {
  const offset = view.state.selection.main.head;
  const line = view.state.doc.lineAt(offset);
  options.onCursor(offset, line.number, offset - line.from + 1);
}

function differenceOf(before: string, after: string): { from: number; to: number; insert: string } {
  let from = 0;
  while (from < before.length && from < after.length && before[from] === after[from]) from += 1;
  let end = 0;
  while (
    end < before.length - from &&
    end < after.length - from &&
    before[before.length - 1 - end] === after[after.length - 1 - end]
  )
    end += 1;
  return { from, to: before.length - end, insert: after.slice(from, after.length - end) };
}
