import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type KeyActionName, keyScheme } from './key-scheme.ts';
import { load } from './testing.ts';

const { keys } = await load<typeof import('./keys.svelte.ts')>('state/keys.svelte.ts');

/** What of an element the keyboard looks at. */
class Element extends EventTarget {
  readonly kind: string;
  isContentEditable = false;
  constructor(kind: string) {
    super();
    this.kind = kind;
  }
  matches(): boolean {
    return this.kind === 'input';
  }
  closest(): Element | null {
    return this.kind === 'button' ? this : null;
  }
}

let dialogOpen: boolean;
let undo: (() => void)[];
beforeEach(() => {
  dialogOpen = false;
  undo = [];
  vi.stubGlobal('window', new EventTarget());
  vi.stubGlobal('HTMLElement', Element);
  vi.stubGlobal('document', { querySelector: () => (dialogOpen ? {} : null) });
  undo.push(keys.listen());
});
afterEach(() => {
  for (const one of undo) one();
  keys.setSingleKeys(true);
  vi.unstubAllGlobals();
});

function press(key: string, { on = 'page', ctrl = false }: { on?: string; ctrl?: boolean } = {}) {
  const event = Object.assign(new Event('keydown', { cancelable: true }), {
    key,
    ctrlKey: ctrl,
    metaKey: false,
    altKey: false,
    isComposing: false,
  });
  // The window sees the host of a shadow root as the target; what is typed into is the first of the path.
  const element = new Element(on);
  Object.defineProperties(event, {
    target: { value: new Element('page') },
    composedPath: { value: () => [element] },
  });
  window.dispatchEvent(event);
  return event.defaultPrevented;
}
/** Binds actions; answers what was done, and what takes them away. */
function bind(...names: KeyActionName[]) {
  const did: string[] = [];
  const away = keys.register(names.map((does) => ({ does, run: (event) => void did.push(event.key) })));
  undo.push(away);
  return { did, away };
}

describe('the scheme of keys', () => {
  it('gives no key to two actions', () => {
    const all = Object.values(keyScheme).flatMap((action): readonly string[] => action.keys);
    expect(all.toSorted()).toEqual([...new Set(all)].toSorted());
  });
});

describe('keys', () => {
  it('do what the newest page has bound them to, and after it what was bound before', () => {
    const frame = bind('add', 'move');
    const page = bind('add');
    expect(press('a')).toBe(true);
    press('j');
    press('k');
    expect([frame.did, page.did]).toEqual([['j', 'k'], ['a']]);
    page.away();
    press('a');
    expect(frame.did).toEqual(['j', 'k', 'a']);
    expect(press('x')).toBe(false);
  });

  it('rest while one types, in a dialog, and where a control in focus has its own use for them', () => {
    const { did } = bind('add', 'open');
    expect(press('a', { on: 'input' })).toBe(false);
    expect(press('Enter', { on: 'button' })).toBe(false);
    dialogOpen = true;
    expect(press('a')).toBe(false);
    dialogOpen = false;
    press('Enter');
    press('a', { on: 'button' });
    expect(did).toEqual(['Enter', 'a']);
  });

  it('with Ctrl act while one types, too, and are not the letter alone', () => {
    const { did } = bind('goTo', 'save');
    expect(press('k', { ctrl: true, on: 'input' })).toBe(true);
    expect(press('k')).toBe(false);
    expect(did).toEqual(['k']);
  });

  it('alone can be turned off, chords not', () => {
    const { did } = bind('add', 'goTo');
    keys.setSingleKeys(false);
    press('a');
    press('K', { ctrl: true });
    expect(did).toEqual(['K']);
  });

  it('with nothing to do are neither shown nor taken from what was bound before', () => {
    const frame = bind('run');
    let ready = false;
    const run = vi.fn();
    undo.push(keys.register([{ does: 'run', label: 'run again', hint: true, ready: () => ready, run }]));
    press('r');
    expect([frame.did, run.mock.calls.length, keys.hints]).toEqual([['r'], 0, []]);
    ready = true;
    undo.push(bind('help').away);
    press('r');
    expect(run).toHaveBeenCalledOnce();
    expect(keys.hints).toEqual([{ does: 'run', keys: ['r'], label: 'run again' }]);
  });

  it('are shown as the whole scheme, each once, what works here apart from the rest', () => {
    bind('add');
    undo.push(keys.register([{ does: 'add', label: 'add an agent', run: () => {} }]));
    expect(keys.here).toEqual([{ does: 'add', keys: ['a'], label: 'add an agent' }]);
    expect(keys.elsewhere.map(({ does }) => does)).toEqual(
      Object.keys(keyScheme).filter((does) => does !== 'add'),
    );
  });
});
