// Reads values as Rundeck's files have them: numbers and booleans may be texts.

export type Loose = Record<string, unknown>;

export function asObject(value: unknown): Loose | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Loose) : undefined;
}

export function asList(value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  return value === undefined || value === null ? [] : [value];
}

/** Returns undefined for anything but text, numbers and booleans, and for the empty text. */
export function asText(value: unknown): string | undefined {
  if (typeof value === 'string') return value === '' ? undefined : value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined;
}

export function asBoolean(value: unknown): boolean {
  return value === true || (typeof value === 'string' && /^(true|yes|on)$/i.test(value.trim()));
}

/** Returns one line of visible text, as names require. */
export function asName(text: string, maxChars = 100): string {
  const line = [
    ...inert(text)
      .replaceAll(/[\s\p{C}]+/gu, ' ')
      .trim(),
  ];
  return line.length <= maxChars
    ? line.join('')
    : `${line
        .slice(0, maxChars - 1)
        .join('')
        .trimEnd()}…`;
}

/** Returns multi-line text, as descriptions allow. */
export function asDescription(text: string, maxChars: number): string {
  const clean = inert(text)
    .replaceAll('\r\n', '\n')
    .replaceAll(/[^\P{C}\n\t]/gu, '')
    .trim();
  return clean.length <= maxChars ? clean : `${clean.slice(0, maxChars - 1)}…`;
}

/** Changes what would read as one of our placeholders. */
function inert(text: string): string {
  return text.replaceAll('${{', () => '$ {{');
}

/** Returns seconds for texts such as `6h 30m`, `120` and `1d`. */
export function asSeconds(value: unknown): number | undefined {
  const text = asText(value)?.trim();
  if (text === undefined) return undefined;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  const parts = [...text.matchAll(/(\d{1,9})\s*([dhmsw])\s*/g)];
  if (parts.length === 0 || parts.map(([whole]) => whole).join('') !== text) return undefined;
  const units: Record<string, number> = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 };
  return parts.reduce((sum, [, count, unit]) => sum + Number(count) * (units[unit ?? 's'] ?? 1), 0);
}
