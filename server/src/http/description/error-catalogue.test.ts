// Compares the table of error codes in docs/api.md with the code. `-u` rewrites the table.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { errorCatalogue } from './error-catalogue.ts';

const file = join(import.meta.dirname, '../../../../docs/api.md');
const begin = '<!-- errors: generated from server/src/http/description/error-catalogue.ts -->\n';
const end = '<!-- end of errors -->';

test('docs/api.md lists every error code with its cause and what to do', async () => {
  const text = await readFile(file, 'utf8');
  const [before = '', rest = ''] = text.split(begin);
  const after = rest.split(end)[1] ?? '';
  const rows = errorCatalogue.map(
    ({ code, status, also, when, fix }) =>
      `| \`${code}\` | ${status}${also === undefined ? '' : `; ${also}`} | ${when} | ${fix} |`,
  );
  const table = ['| code | status | when | what to do |', '|---|---|---|---|', ...rows].join('\n');
  await expect(`${before}${begin}\n${table}\n\n${end}${after}`).toMatchFileSnapshot(file);
});
