// The keyboard map. A page registers what its keys do while it is shown; single keys rest while someone types, while
// a dialog is open, and when they are turned off.
import { untrack } from 'svelte';
import { keepPreference, readPreference } from './preference.ts';

export interface KeyBinding {
  /** `event.key` values that do it: `j`, `Enter`, `?`; with `Ctrl+` in front for a chord. */
  keys: string[];
  label: string;
  run(event: KeyboardEvent): void;
  /** Shown in the footer. */
  hint?: boolean;
}

class Keys {
  #groups = $state.raw<{ bindings: KeyBinding[] }[]>([]);
  singleKeys = $state(readPreference('single-keys') !== 'off');

  readonly bindings = $derived(this.#groups.flatMap((group) => group.bindings));

  /** Adds bindings; the newest wins a key. Answers what takes them away. */
  register(bindings: KeyBinding[]): () => void {
    const group = { bindings };
    // Untracked: it is called from effects, which must not run again because of it.
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
      if (!name.startsWith('Ctrl+') && (!this.singleKeys || isBusy(event))) return;
      const binding = this.bindings.find((candidate) => candidate.keys.includes(name));
      if (binding === undefined) return;
      event.preventDefault();
      binding.run(event);
    };
    window.addEventListener('keydown', onKey);
    return () => window.removeEventListener('keydown', onKey);
  }
}

/** How a key is written for people: `Ctrl K`. */
export function keyLabel(key: string): string {
  return key.startsWith('Ctrl+') ? `Ctrl ${key.slice(5).toUpperCase()}` : key;
}

function nameOf(event: KeyboardEvent): string {
  if (event.altKey) return `Alt+${event.key}`;
  return event.ctrlKey || event.metaKey ? `Ctrl+${event.key.toLowerCase()}` : event.key;
}

/** Someone types, or a dialog has the floor, or the key belongs to the control in focus. */
function isBusy(event: KeyboardEvent): boolean {
  if (document.querySelector('dialog[open]') !== null) return true;
  const { target } = event;
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
