// The only key bindings: a key does the same wherever it does anything. Pages bind these actions, never keys.

export interface KeyAction {
  /**
   * `event.key` values that trigger it: `j`, `Enter`, `?`. A chord (with `Ctrl+` or `Alt+` in front) or a function key
   * also works while someone types.
   */
  keys: readonly string[];
  /** What it does, unless a page says it more exactly. */
  what: string;
}

export const keyScheme = {
  move: { keys: ['j', 'k'], what: 'next and previous row' },
  step: { keys: ['l', 'h'], what: 'next and previous step' },
  open: { keys: ['Enter'], what: 'open' },
  choose: { keys: ['x'], what: 'select or deselect the row' },
  next: { keys: ['n'], what: 'next one that needs you' },
  find: { keys: ['/'], what: 'find or search' },
  filter: { keys: ['i'], what: 'filter hosts' },
  map: { keys: ['m'], what: 'rows or map' },
  follow: { keys: ['f'], what: 'follow or pause' },
  end: { keys: ['End', 'G'], what: 'end of the output and follow' },
  beginning: { keys: ['Home'], what: 'beginning of the output' },
  error: { keys: ['e'], what: 'first error' },
  times: { keys: ['t'], what: 'show or hide times' },
  add: { keys: ['a'], what: 'add a job, target, agent, user, …' },
  run: { keys: ['r'], what: 'run' },
  cancel: { keys: ['c'], what: 'cancel the run (asks)' },
  cancelHost: { keys: ['C'], what: 'cancel the host (asks)' },
  save: { keys: ['Ctrl+s'], what: 'save' },
  nextError: { keys: ['F8'], what: 'next error' },
  fix: { keys: ['Ctrl+.'], what: 'fix the error' },
  first: { keys: ['Alt+1'], what: 'first part of the page' },
  second: { keys: ['Alt+2'], what: 'second part of the page' },
  third: { keys: ['Alt+3'], what: 'third part of the page' },
  goTo: { keys: ['Ctrl+k'], what: 'go to a page, job, target or run' },
  help: { keys: ['?'], what: 'all shortcuts' },
} as const satisfies Record<string, KeyAction>;

export type KeyActionName = keyof typeof keyScheme;

/** Returns a key as it is written for people: `Ctrl K`. */
export function keyLabel(key: string): string {
  const chord = /^(Ctrl|Alt)\+(.+)$/.exec(key);
  if (chord !== null) return `${chord[1]} ${chord[2]?.toUpperCase()}`;
  // In small print, `C` is hard to tell from `c`.
  return /^[A-Z]$/.test(key) ? `Shift ${key}` : key;
}
