import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ReadInventory, readInventory } from './read-inventory.ts';

const csv = (content: string, options = {}): ReadInventory =>
  readInventory('csv', [{ path: 'hosts.csv', content }], { groups: 'target_groups', ...options });
const wrong = ({ errors }: ReadInventory) => errors.map(({ line, message }) => `${line} ${message}`);

describe('a CSV file', () => {
  it('has one host per row, and may have a byte order mark, CRLF, quotes and line breaks in fields', () => {
    const inventory = csv(
      '\ufeffName,Host,port,segment,os,label:env,labels,groups,description,username\r\n' +
        'web-1,10.0.0.1,2222,dmz-1,linux,prod,"tier=web;canary","web; front","says ""hi"",\nin two lines",deploy\r\n' +
        '\r\n' +
        'win-1,,,,Windows,,,,,\r\n',
    );
    expect(inventory.errors).toEqual([]);
    expect(inventory.hosts).toEqual([
      {
        key: 'web-1',
        name: 'web-1',
        host: '10.0.0.1',
        port: 2222,
        segment: 'dmz-1',
        operatingSystem: 'linux',
        description: 'says "hi",\nin two lines',
        labels: { env: 'prod', tier: 'web', canary: '' },
        groups: ['web', 'front'],
        settings: { username: 'deploy' },
        file: 'hosts.csv',
        line: 2,
      },
      { key: 'win-1', name: 'win-1', host: 'win-1', operatingSystem: 'windows', file: 'hosts.csv', line: 5 },
    ]);
  });

  it('may be separated by semicolons', () => {
    expect(csv('name;host\na;b', { delimiter: ';' }).hosts).toMatchObject([{ name: 'a', host: 'b' }]);
  });

  it.each([
    ['name;host;label:env\na;b;c', {}, 'semicolons'],
    ['name\thost\na\tb', {}, 'tabs'],
    ['name,host\na,b', { delimiter: ';' }, 'commas'],
  ] as const)(
    'says what separates the columns of %j, instead of which column is missing',
    (text, options, by) => {
      expect(wrong(csv(text, options))).toEqual([
        `1 The columns are separated by ${by}: set options.delimiter.`,
      ]);
    },
  );

  it('reports all wrong rows at once', () => {
    const inventory = csv(
      [
        'name,host,port,os,label:in',
        'a,10.0.0.1,ssh,linux,',
        'b,bad host,22,beos,',
        'c,x',
        ',y,1,,',
        'd,e,70000,,v',
      ].join('\n'),
    );
    expect(wrong(inventory)).toEqual([
      '4 The row has 2 fields; the header has 5.',
      expect.stringMatching(/^2 The host “a”: port: /),
      expect.stringMatching(/^3 The host “b”: /),
      expect.stringMatching(/^3 The host “b”: /),
      '5 The host has no name.',
      expect.stringMatching(/^6 The host “d”: port: /),
      expect.stringMatching(/^6 The host “d”: “in” can’t be the name of a label/),
    ]);
  });

  it.each([
    ['', /no rows/],
    ['host\na', /column name is missing/],
    ['name,colour\na,b', /column “colour” is not known.*label:colour/],
    ['name,name\na,b', /twice/],
    ['name\n"a', /not closed/],
    ['name\na"b', /quote inside a field/],
    [`name\n${'x'.repeat(70_000)}`, /longer than/],
    ['name,label:__proto__\na,b', /label/],
  ])('%j is refused', (content, message) => {
    const inventory = csv(content);
    expect(wrong(inventory).join('\n')).toMatch(message);
    expect(inventory.hosts).toEqual([]);
  });

  it('is read back as it was written', () => {
    const cell = fc.stringMatching(/^[A-Za-z0-9 ",;ü'|-]{0,20}$/).map((text) => text.trim());
    const rows = fc.array(cell, { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(rows, (descriptions) => {
        const quote = (text: string) => `"${text.replaceAll('"', '""')}"`;
        const content = ['name,description', ...descriptions.map((text, n) => `h${n},${quote(text)}`)].join(
          '\r\n',
        );
        const read = csv(content).hosts.map(({ description = '' }) => description);
        expect(read).toEqual(descriptions);
      }),
    );
  });
});
