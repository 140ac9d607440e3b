import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { load } from '../testing.ts';
import { type KeyActionName, keyScheme } from './key-scheme.ts';

const { keys } = await load<typeof import('./keys.svelte.ts')>('state/keys/keys.svelte.ts');

/** Stands in for an element, as far as the keyboard looks at it. */
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
  // The window sees the host of a shadow root as the target. The real element is the first one in the path.
  const element = new Element(on);
  Object.defineProperties(event, {
    target: { value: new Element('page') },
    composedPath: { value: () => [element] },
  });
  window.dispatchEvent(event);
  return event.defaultPrevented;
}
/** Binds actions. Returns what was done, and the function that removes the bindings. */
function bind(...names: KeyActionName[]) {
  const did: string[] = [];
  const away = keys.register(names.map((does) => ({ does, run: (event) => void did.push(event.key) })));
  undo.push(away);
  return { did, away };
}

describe('the keyboard scheme', () => {
  it('gives no key to two actions', () => {
    const all = Object.values(keyScheme).flatMap((action): readonly string[] => action.keys);
    expect(all.toSorted()).toEqual([...new Set(all)].toSorted());
  });
});

describe('keys', () => {
  it('do what the newest page bound, and once it is gone, what was bound before', () => {
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

  it('do nothing while someone types, in a dialog, or if the focused control uses them itself', () => {
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

  it('with Ctrl work while someone types, and differ from the letter alone', () => {
    const { did } = bind('goTo', 'save');
    expect(press('k', { ctrl: true, on: 'input' })).toBe(true);
    expect(press('k')).toBe(false);
    expect(did).toEqual(['k']);
  });

  it('that are single can be turned off, chords can’t', () => {
    const { did } = bind('add', 'goTo');
    keys.setSingleKeys(false);
    press('a');
    press('K', { ctrl: true });
    expect(did).toEqual(['K']);
  });

  it('with nothing to do are not shown, and leave older bindings in effect', () => {
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

  it('are all shown, each once, with those that work here apart from the rest', () => {
    bind('add');
    undo.push(keys.register([{ does: 'add', label: 'add an agent', run: () => {} }]));
    expect(keys.here).toEqual([{ does: 'add', keys: ['a'], label: 'add an agent' }]);
    expect(keys.elsewhere.map(({ does }) => does)).toEqual(
      Object.keys(keyScheme).filter((does) => does !== 'add'),
    );
  });
});
