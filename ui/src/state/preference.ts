// Small choices kept in this browser. A browser that keeps nothing is fine.

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
    // Not kept; it holds for this page.
  }
}
