// Small choices, kept in this browser. It works without storage, too.

export function readPreference(name: string): string | null {
  try {
    return localStorage.getItem(`opsconductor.${name}`);
  } catch {
    return null;
  }
}

export function keepPreference(name: string, value: string): void {
  try {
    localStorage.setItem(`opsconductor.${name}`, value);
  } catch {
    // Not stored; the choice holds for this page only.
  }
}
