import { describe, expect, it } from 'vitest';
import { type LongList, readLongList } from './read-long-list.ts';
import { readYamlValue } from './read-yaml-value.ts';

function read(text: string, key: string | null = 'jobs') {
  const list = readLongList(text, key ?? undefined);
  if ('problems' in list) return { problems: list.problems.map(({ message }) => message) };
  return { beside: list.beside, values: [...list.items].map(({ value }) => value) };
}

/** Returns the position of a path of an item, from the list and from the text read whole. */
function placesOf(text: string, path: string, key: string | null = 'jobs') {
  const list = readLongList(text, key ?? undefined) as LongList;
  const places = [...list.items].map(({ locate }) => {
    const [one] = locate([{ path, message: '' }]);
    return { line: one?.line, column: one?.column };
  });
  const whole = readYamlValue(text);
  if ('problems' in whole) throw new Error('not YAML');
  return { places, whole: places.map((_, n) => whole.places.find(`${key ?? ''}[${n}].${path}`)) };
}

const yaml = `# of last week
format: x
jobs: # all of them

  # the first
  - name: one
    steps:
      - run: |
          - not an item
            of the list
  -
    name: two
    steps: [{ run: 'a
      b' }]
  - name: three # the last
    steps:
    - run: "c"
version: 1
`;

describe('a list in YAML', () => {
  it('is read item by item with the same result as the whole', () => {
    const { jobs, ...beside } = (readYamlValue(yaml) as { value: { jobs: unknown[] } }).value;
    expect(read(yaml)).toEqual({ beside, values: jobs });
    expect(jobs).toHaveLength(3);
  });

  it('reports positions in the whole text', () => {
    for (const path of ['name', 'steps[0].run', 'steps', 'nothing']) {
      const { places, whole } = placesOf(yaml, path);
      expect(places, path).toEqual(whole);
    }
  });

  it('may be the whole text, without indents, and with Windows line ends', () => {
    const text = '---\r\n- name: one\r\n  steps:\r\n  - run: x\r\n- name: two\r\n';
    expect(read(text, null)).toEqual({
      beside: {},
      values: [{ name: 'one', steps: [{ run: 'x' }] }, { name: 'two' }],
    });
    const flat = 'jobs:\n- name: one\n- name: two\nformat: x\n';
    expect(read(flat)).toEqual({ beside: { format: 'x' }, values: [{ name: 'one' }, { name: 'two' }] });
  });

  it('reports each item that can’t be read, and reads the others', () => {
    const list = readLongList(
      'jobs:\n  - name: one\n  - name: "two\n  - name: three\n  - {\n',
      'jobs',
    ) as LongList;
    expect(
      [...list.items].map(({ value, problems }) => value ?? problems.map(({ message }) => message)),
    ).toEqual([
      { name: 'one' },
      [expect.stringMatching(/^Line 4, column 1: Something is missing here/)],
      { name: 'three' },
      [expect.stringMatching(/^Line 6/)],
    ]);
  });

  it('may refer from one item to another if it is short', () => {
    const text = 'jobs:\n  - name: one\n    with: &shared { a: 1 }\n  - name: two\n    with: *shared\n';
    expect(read(text)).toEqual({
      beside: {},
      values: [
        { name: 'one', with: { a: 1 } },
        { name: 'two', with: { a: 1 } },
      ],
    });
    expect(placesOf(text, 'name').places).toEqual(placesOf(text, 'name').whole);
  });

  it('may be written in brackets if it is short', () => {
    expect(read('format: x\njobs: [{ name: one }]\n')).toEqual({
      beside: { format: 'x' },
      values: [{ name: 'one' }],
    });
  });

  it('is reported if it is missing', () => {
    expect(read('format: x\n')).toEqual({ problems: ['Has no list `jobs`; the jobs are in it.'] });
    expect(read('name: x\n', null)).toEqual({ problems: ['Must be a list of jobs.'] });
    expect(read('')).toEqual({ problems: ['Line 1, column 1: There is nothing in it.'] });
  });

  it('may have more lines than a text that is read whole, with something after it', () => {
    const item = `- run: |\n${'    line\n'.repeat(1_000)}`;
    const list = readLongList(`format: x\njobs:\n${item.repeat(100)}version: 2\n`, 'jobs') as LongList;
    expect(list.beside).toEqual({ format: 'x', version: 2 });
    const paths = ['version', 'format'].map((path) => ({ path, message: '' }));
    expect(list.locateBeside(paths)).toMatchObject([{ line: 100_103 }, { line: 1 }]);
    expect([...list.items].at(-1)).toMatchObject({ position: 100, place: { line: 99_102, column: 3 } });
  });
});

describe('a list in JSON', () => {
  const value = {
    format: 'x',
    'a"]': [1, { b: ']' }],
    jobs: [{ name: 'o\\"ne', n: [1, -2.5e3] }, {}, 3, null],
    z: 1,
  };

  it('is read item by item with the same result as the whole', () => {
    const { jobs, ...beside } = value;
    for (const indent of [0, 2, 7])
      expect(read(JSON.stringify(value, null, indent))).toEqual({ beside, values: jobs });
    expect(read(JSON.stringify(jobs), null)).toEqual({ beside: {}, values: jobs });
    expect(read('{"jobs":[]}')).toEqual({ beside: {}, values: [] });
  });

  it('reports positions in the whole text', () => {
    const text = JSON.stringify(
      { format: 'x', jobs: [{ name: 'one', steps: [{ run: 'a' }] }, { name: 'two' }] },
      null,
      2,
    );
    for (const path of ['name', 'steps[0].run']) {
      const { places, whole } = placesOf(text, path);
      expect(places[0], path).toEqual(whole[0]);
    }
  });

  it('reports where it is not JSON, and duplicate keys', () => {
    const list = readLongList('{"format":"x",\n"jobs":[{"name":},\n{"a":1,\n "a":2}]}', 'jobs') as LongList;
    expect([...list.items].map(({ problems }) => problems.map(({ message }) => message))).toEqual([
      [expect.stringMatching(/^Line 2, column 17: /)],
      ['Line 4, column 2: This key occurs twice.'],
    ]);
    expect(read('{"format":"x",\n"jobs":[{}')).toEqual({
      problems: [expect.stringMatching(/^Line 2, column 11: /)],
    });
  });
});
