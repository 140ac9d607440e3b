// Formats counts and sizes.

const grouped = new Intl.NumberFormat('en-US');

/** `1,842` */
export function count(value: number): string {
  return grouped.format(value);
}

/** `1 host`, `24 hosts`; pass the plural if it isn't the singular with an s. */
export function counted(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** `99.9 %` for a share from 0 to 1; only exactly 0 and 1 are shown as 0 % and 100 %. */
export function percent(share: number): string {
  const rounded = Math.round(share * 1000) / 10;
  return `${share > 0 && share < 1 ? Math.min(99.9, Math.max(0.1, rounded)) : rounded} %`;
}

/** Decimal units: `312 B`, `9.4 kB`, `200 MB`. */
export function byteSize(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  let value = bytes;
  let unit = '';
  for (const next of ['kB', 'MB', 'GB', 'TB']) {
    value /= 1000;
    unit = next;
    if (value < 999.5) break;
  }
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

/** The first few names, and how many more there are. */
export function listed(names: readonly string[], most = 3): string {
  return names.length > most
    ? `${names.slice(0, most).join(', ')} and ${count(names.length - most)} more`
    : names.join(', ');
}
