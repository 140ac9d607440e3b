// Parses inventories in CSV (RFC 4180): a header row that names the columns, then one host per row.
import type { ImportedHost, InventoryOptions } from '@opsconductor/protocol';
import { limits } from '@opsconductor/protocol';
import { CsvError, type Info, parse } from 'csv-parse/sync';
import type { PlacedHost } from './ansible/hosts-of-tree.ts';
import { InventoryTooLarge, type Place, quoted, type Report } from './report.ts';

const columns = [
  'name',
  'host',
  'segment',
  'port',
  'os',
  'description',
  'labels',
  'groups',
  'protocol',
  'username',
  'connect_timeout',
] as const;
type Column = (typeof columns)[number];
const maxRecordBytes = 64 * 1024;
const labelPrefix = 'label:';

interface Row {
  cells: string[];
  place: Place;
}

/** Returns the hosts of a file; all unreadable rows are reported. */
export function parseCsv(
  file: string,
  text: string,
  options: InventoryOptions,
  report: Report,
): PlacedHost[] {
  const rows = readRows(file, text, options.delimiter ?? ',', report);
  const [header, ...body] = rows ?? [];
  if (header === undefined) {
    if (rows !== undefined)
      report.error(
        { file, line: 1 },
        'The file has no rows. The first names the columns: name,host,segment,…',
      );
    return [];
  }
  const readers = readHeader(header, report);
  if (readers === undefined) return [];
  return body.flatMap((row) => {
    const host = readRow(row, readers, report);
    return host === undefined ? [] : [{ host, place: row.place }];
  });
}

function readRows(file: string, text: string, delimiter: string, report: Report): Row[] | undefined {
  const rows: Row[] = [];
  try {
    parse(text, {
      bom: true,
      delimiter,
      info: true,
      record_delimiter: ['\r\n', '\n', '\r'],
      relax_column_count: true,
      skip_empty_lines: true,
      max_record_size: maxRecordBytes,
      on_record: (record: unknown) => {
        const { record: cells, info } = record as { record: string[]; info: Info };
        // The parser counts lines up to the end of the record; quoted fields may contain line breaks.
        const broken = cells.reduce((count, cell) => count + (cell.match(/\r\n|\n|\r/g)?.length ?? 0), 0);
        rows.push({ cells, place: { file, line: info.lines - broken } });
        if (rows.length > limits.maxInventoryHosts + 1) {
          throw new InventoryTooLarge(
            { file, line: info.lines },
            `An inventory may have ${limits.maxInventoryHosts} hosts; this one has more.`,
          );
        }
        return null;
      },
    });
    return rows;
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    const { lines } = error as unknown as { lines?: number };
    report.error({ file, line: lines ?? null }, messageOf(error));
    return undefined;
  }
}

/** The parser's own messages quote the file. */
function messageOf(error: CsvError): string {
  switch (error.code) {
    case 'CSV_QUOTE_NOT_CLOSED':
      return 'A quote is not closed.';
    case 'CSV_MAX_RECORD_SIZE':
      return `The row is longer than ${maxRecordBytes} characters; look for a quote that is not closed.`;
    default:
      return 'A quote inside a field: put the whole field in quotes, and write each quote in it twice.';
  }
}

type Reader = { column: Column } | { label: string };

function readHeader({ cells, place }: Row, report: Report): Reader[] | undefined {
  const divided = otherDelimiter(cells);
  if (divided !== undefined) {
    report.error(place, `The columns are separated by ${divided}: set options.delimiter.`);
    return undefined;
  }
  const before = report.errorCount;
  const seen = new Set<string>();
  const readers = cells.map((cell): Reader => {
    const text = cell.trim();
    const lower = text.toLowerCase();
    const isLabel = lower.startsWith(labelPrefix);
    const name = isLabel ? labelPrefix + text.slice(labelPrefix.length).trim() : lower;
    if (seen.has(name)) report.error(place, `The column ${quoted(text)} occurs twice.`);
    seen.add(name);
    if (isLabel) return { label: name.slice(labelPrefix.length) };
    const column = columns.find((one) => one === lower);
    if (column !== undefined) return { column };
    const known = columns.join(', ');
    report.error(
      place,
      `The column ${quoted(text)} is not known. Columns are ${known}; to make a label of it, call it label:${text.slice(0, 60)}.`,
    );
    return { column: 'name' };
  });
  if (!seen.has('name')) report.error(place, 'The column name is missing.');
  return report.errorCount > before ? undefined : readers;
}

/** Returns what seems to separate the columns of a header that was read as one column. */
function otherDelimiter([only = '', ...more]: readonly string[]): string | undefined {
  if (more.length > 0) return undefined;
  if (only.includes(';')) return 'semicolons';
  if (only.includes('\t')) return 'tabs';
  return only.includes(',') ? 'commas' : undefined;
}

function readRow(
  { cells, place }: Row,
  readers: readonly Reader[],
  report: Report,
): ImportedHost | undefined {
  if (cells.length !== readers.length) {
    report.error(place, `The row has ${cells.length} fields; the header has ${readers.length}.`);
    return undefined;
  }
  const fields: Partial<Record<Column, string>> = {};
  const labels = new Map<string, string>();
  for (const [at, reader] of readers.entries()) {
    const text = (cells[at] ?? '').trim();
    if (text === '') continue;
    if ('column' in reader) fields[reader.column] = text;
    else labels.set(reader.label, text);
  }
  for (const label of splitList(fields.labels)) {
    const [, name = '', value = ''] = /^([^=]*)=?(.*)$/s.exec(label) ?? [];
    labels.set(name.trim(), value.trim());
  }
  const groups = [...new Set(splitList(fields.groups))];
  const { name = '', host, segment, os, description, protocol, username } = fields;
  const settings = {
    ...(protocol === undefined ? {} : { protocol: protocol.toLowerCase() }),
    ...(username === undefined ? {} : { username }),
    ...numberOf('connect_timeout', fields.connect_timeout),
  };
  // The later check of the hosts reports invalid values.
  return {
    name,
    host: host ?? name,
    ...(segment === undefined ? {} : { segment }),
    ...numberOf('port', fields.port),
    ...(os === undefined ? {} : { operatingSystem: os.toLowerCase() }),
    ...(description === undefined ? {} : { description }),
    ...(labels.size === 0 ? {} : { labels: Object.fromEntries(labels) }),
    ...(groups.length === 0 ? {} : { groups }),
    ...(Object.keys(settings).length === 0 ? {} : { settings }),
  } as ImportedHost;
}

/** Items are separated by semicolons, or by spaces if there is no semicolon: `env=prod; tier=web`. */
function splitList(text: string | undefined): string[] {
  if (text === undefined) return [];
  const parts = text.includes(';') ? text.split(';') : text.split(/\s+/);
  return parts.map((part) => part.trim()).filter((part) => part !== '');
}

function numberOf(name: string, text: string | undefined): Record<string, unknown> {
  if (text === undefined) return {};
  return { [name]: /^[0-9]{1,6}$/.test(text) ? Number(text) : text };
}
