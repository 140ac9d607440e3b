// biome-ignore-all lint/suspicious/noTemplateCurlyInString: placeholders are written so
// Values as Rundeck's files have them: numbers and booleans may be texts.

export type Loose = Record<string, unknown>;

export function asObject(value: unknown): Loose | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Loose) : undefined;
}

export function asList(value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  return value === undefined || value === null ? [] : [value];
}

/** Undefined for what is no text, number or boolean, and for the empty text. */
export function asText(value: unknown): string | undefined {
  if (typeof value === 'string') return value === '' ? undefined : value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined;
}

export function asBoolean(value: unknown): boolean {
  return value === true || (typeof value === 'string' && /^(true|yes|on)$/i.test(value.trim()));
}

/** One line of visible text, as names are. */
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

/** Text in several lines, as descriptions are. */
export function asDescription(text: string, maxChars: number): string {
  const clean = inert(text)
    .replaceAll('\r\n', '\n')
    .replaceAll(/[^\P{C}\n\t]/gu, '')
    .trim();
  return clean.length <= maxChars ? clean : `${clean.slice(0, maxChars - 1)}…`;
}

/** Without what would read as a placeholder of ours. */
function inert(text: string): string {
  return text.replaceAll('${{', () => '$ {{');
}

/** `6h 30m`, `120`, `1d`: seconds. */
export function asSeconds(value: unknown): number | undefined {
  const text = asText(value)?.trim();
  if (text === undefined) return undefined;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  const parts = [...text.matchAll(/(\d{1,9})\s*([dhmsw])\s*/g)];
  if (parts.length === 0 || parts.map(([whole]) => whole).join('') !== text) return undefined;
  const units: Record<string, number> = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 };
  return parts.reduce((sum, [, count, unit]) => sum + Number(count) * (units[unit ?? 's'] ?? 1), 0);
}
