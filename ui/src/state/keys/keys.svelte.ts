// The keyboard. A page binds actions of the scheme while it is shown. Single keys do nothing while someone types, while
// a dialog is open, or when they are turned off.
import { untrack } from 'svelte';
import { keepPreference, readPreference } from '../preference.ts';
import { type KeyActionName, keyScheme } from './key-scheme.ts';

export interface KeyBinding {
  does: KeyActionName;
  /** What it does here; the scheme's words by default. */
  label?: string;
  run(event: KeyboardEvent): void;
  /** Whether there is anything to do; by default, always. If not, the key is not shown. */
  ready?(): boolean;
  /** Whether to show it in the footer. */
  hint?: boolean;
}

/** An action as it is shown: its keys and a label. */
export interface ShownKey {
  does: KeyActionName;
  keys: readonly string[];
  label: string;
}

const schemeOrder = Object.keys(keyScheme) as KeyActionName[];

class Keys {
  #groups = $state.raw<{ bindings: KeyBinding[] }[]>([]);
  singleKeys = $state(readPreference('single-keys') !== 'off');

  /** What works now, in the scheme's order. If an action is bound twice, the newest binding wins. */
  readonly bindings: readonly KeyBinding[] = $derived.by(() => {
    const taken = new Map<KeyActionName, KeyBinding>();
    for (const { bindings } of this.#groups) {
      for (const binding of bindings) {
        if (!taken.has(binding.does) && binding.ready?.() !== false) taken.set(binding.does, binding);
      }
    }
    return schemeOrder.flatMap((does) => taken.get(does) ?? []);
  });
  readonly hints: readonly ShownKey[] = $derived(
    this.bindings.filter((binding) => binding.hint === true).map(shownKey),
  );
  readonly here: readonly ShownKey[] = $derived(this.bindings.map(shownKey));
  /** The rest of the scheme. */
  readonly elsewhere: readonly ShownKey[] = $derived.by(() => {
    const here = new Set(this.bindings.map((binding) => binding.does));
    return schemeOrder
      .filter((does) => !here.has(does))
      .map((does) => ({ does, keys: keyScheme[does].keys, label: keyScheme[does].what }));
  });

  /** Adds bindings, which win over older ones. Returns the function that removes them. */
  register(bindings: KeyBinding[]): () => void {
    const group = { bindings };
    // Untracked, because effects call this and must not run again because of it.
    untrack(() => {
      this.#groups = [group, ...this.#groups];
    });
    return () => {
      this.#groups = this.#groups.filter((other) => other !== group);
    };
  }

  setSingleKeys(on: boolean): void {
    this.singleKeys = on;
    keepPreference('single-keys', on ? 'on' : 'off');
  }

  listen(): () => void {
    const onKey = (event: KeyboardEvent) => {
      const name = nameOf(event);
      if (event.defaultPrevented || event.isComposing) return;
      if (!isChord(name) && (!this.singleKeys || isBusy(event))) return;
      const binding = this.bindings.find(({ does }) => keysOf(does).includes(name));
      if (binding === undefined) return;
      event.preventDefault();
      binding.run(event);
    };
    window.addEventListener('keydown', onKey);
    return () => window.removeEventListener('keydown', onKey);
  }
}

function keysOf(does: KeyActionName): readonly string[] {
  return keyScheme[does].keys;
}

function shownKey({ does, label }: KeyBinding): ShownKey {
  return { does, keys: keyScheme[does].keys, label: label ?? keyScheme[does].what };
}

function nameOf(event: KeyboardEvent): string {
  if (event.altKey) return `Alt+${event.key}`;
  return event.ctrlKey || event.metaKey ? `Ctrl+${event.key.toLowerCase()}` : event.key;
}

/** Returns whether it is a key that can't type text. */
function isChord(name: string): boolean {
  return /^(?:Ctrl\+|Alt\+|F\d)/.test(name);
}

/** Returns whether someone types, a dialog is open, or the focused control uses the key itself. */
function isBusy(event: KeyboardEvent): boolean {
  if (document.querySelector('dialog[open]') !== null) return true;
  // For a field in a shadow root, the event's target is only the host.
  const [target] = event.composedPath();
  if (!(target instanceof HTMLElement)) return false;
  if (
    target.isContentEditable ||
    target.matches('input:not([type=checkbox]):not([type=radio]), textarea, select')
  ) {
    return true;
  }
  return (event.key === 'Enter' || event.key === ' ') && target.closest('a, button, summary') !== null;
}

export const keys = new Keys();
