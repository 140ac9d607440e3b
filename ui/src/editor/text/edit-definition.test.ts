import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { applyEdit, type Edit, sameValue } from './apply-edit.ts';
import { editDefinition, restoreEntry, textOfEntry } from './edit-definition.ts';
import { type Path, printPath } from './path.ts';
import { readDefinition } from './read-definition.ts';

const patch = `name: Patch web tier
# who asked for it
description: Drains, snapshots, updates and verifies web hosts
parameters:
  ticket:       { type: string, pattern: "^CHG-[0-9]{5}$" } # from the change board
  channel:      { type: string, enum: [security, all], default: security }

# how many at a time
strategy: { max_parallel: 8, max_failures: 2 }
steps:
  - name: drain
    type: ssh.exec
    config: { command: lb-ctl drain "$(hostname)", timeout: 60 }
  # keeps local configuration files, see the patching guide
  - name: apply
    type: ssh.exec
    on_unknown: hold   # asks
    config:
      timeout: 1800 # half an hour
      command: |  # as root
        set -eux
        apt-get -q update

        apt-get -qy dist-upgrade
      # nothing else

  # the end
  - name: verify
    type: ssh.exec
    config: { command: health-check --wait 30, timeout: 45 }
# last words
`;
const order = () => [
  'name',
  'description',
  'category',
  'parameters',
  'strategy',
  'timeout',
  'steps',
  'type',
  'when',
  'config',
];

/** Applies an edit; fails if the whole text had to be rewritten. */
function edited(text: string, edit: Edit): string {
  return editDefinition(text, edit, {
    orderOf: order,
    onRewrite: () => {
      throw new Error(`written anew for ${JSON.stringify(edit)}`);
    },
  });
}

/** Lines that were removed and lines that were added. */
function difference(before: string, after: string): string[] {
  const [a, b] = [before.split('\n'), after.split('\n')];
  const [left, right] = [a.filter((line) => !b.includes(line)), b.filter((line) => !a.includes(line))];
  return [...left.map((line) => `-${line}`), ...right.map((line) => `+${line}`)];
}

describe('changes only the line of', () => {
  test.each<[string, Edit, string[]]>([
    [
      'a plain text',
      { kind: 'set', path: ['name'], value: 'Patch: all' },
      ['-name: Patch web tier', '+name: "Patch: all"'],
    ],
    [
      'a number before a comment',
      { kind: 'set', path: ['steps', 1, 'config', 'timeout'], value: 60 },
      ['-      timeout: 1800 # half an hour', '+      timeout: 60 # half an hour'],
    ],
    [
      'a line of a block',
      {
        kind: 'set',
        path: ['steps', 1, 'config', 'command'],
        value: 'set -eux\napt-get -q update\n\napt-get -qy upgrade\n',
      },
      ['-        apt-get -qy dist-upgrade', '+        apt-get -qy upgrade'],
    ],
    [
      'a value in brackets',
      { kind: 'set', path: ['strategy', 'max_failures'], value: '10%' },
      [
        '-strategy: { max_parallel: 8, max_failures: 2 }',
        '+strategy: { max_parallel: 8, max_failures: 10% }',
      ],
    ],
    [
      'a quoted text in brackets',
      { kind: 'set', path: ['parameters', 'ticket', 'pattern'], value: '^C' },
      [
        '-  ticket:       { type: string, pattern: "^CHG-[0-9]{5}$" } # from the change board',
        '+  ticket:       { type: string, pattern: "^C" } # from the change board',
      ],
    ],
    [
      'a command in brackets that gets lines',
      { kind: 'set', path: ['steps', 0, 'config', 'command'], value: 'a\nb' },
      [
        '-    config: { command: lb-ctl drain "$(hostname)", timeout: 60 }',
        '+    config: { command: "a\\nb", timeout: 60 }',
      ],
    ],
    [
      'a new key, where the order has it',
      { kind: 'set', path: ['category'], value: 'Patching' },
      ['+category: Patching'],
    ],
    [
      'a new key of a step',
      { kind: 'set', path: ['steps', 1, 'when'], value: 'parameters.channel == "all"' },
      ['+    when: parameters.channel == "all"'],
    ],
    [
      'a new key in brackets',
      { kind: 'set', path: ['steps', 2, 'config', 'working_directory'], value: '/tmp' },
      [
        '-    config: { command: health-check --wait 30, timeout: 45 }',
        '+    config: { command: health-check --wait 30, timeout: 45, working_directory: /tmp }',
      ],
    ],
    [
      'a new map of a step',
      { kind: 'set', path: ['steps', 1, 'config', 'environment', 'LANG'], value: 'C' },
      ['+      environment:', '+        LANG: C'],
    ],
    [
      'a list of numbers',
      { kind: 'set', path: ['steps', 1, 'config', 'expected_exit_codes'], value: [0, 3] },
      ['+      expected_exit_codes: [0, 3]'],
    ],
    [
      'a key that goes, its comment stays',
      { kind: 'remove', path: ['steps', 1, 'on_unknown'] },
      ['-    on_unknown: hold   # asks', '+    # asks'],
    ],
    [
      'a renamed parameter',
      { kind: 'rename', path: ['parameters', 'channel'], to: 'repository' },
      [
        '-  channel:      { type: string, enum: [security, all], default: security }',
        '+  repository:      { type: string, enum: [security, all], default: security }',
      ],
    ],
  ])('%s', (_, edit, lines) => {
    expect(difference(patch, edited(patch, edit))).toEqual(lines);
  });
});

test('a step takes the comments above and inside it along, and leaves detached ones', () => {
  const moved = edited(patch, { kind: 'move', path: ['steps'], from: 1, to: 0 });
  expect(moved.split('steps:\n')[1]).toBe(`  # keeps local configuration files, see the patching guide
  - name: apply
    type: ssh.exec
    on_unknown: hold   # asks
    config:
      timeout: 1800 # half an hour
      command: |  # as root
        set -eux
        apt-get -q update

        apt-get -qy dist-upgrade
      # nothing else
  - name: drain
    type: ssh.exec
    config: { command: lb-ctl drain "$(hostname)", timeout: 60 }

  # the end
  - name: verify
    type: ssh.exec
    config: { command: health-check --wait 30, timeout: 45 }
# last words
`);
  expect(edited(moved, { kind: 'move', path: ['steps'], from: 0, to: 1 })).toBe(patch);
});

test('a deleted step is restored as it was written', () => {
  for (const at of [0, 1, 2]) {
    const raw = textOfEntry(patch, ['steps'], at) ?? '';
    const value = (readDefinition(patch).value as { steps: unknown[] }).steps[at];
    const without = edited(patch, { kind: 'remove', path: ['steps', at], whole: true });
    expect(readDefinition(without).value).toEqual(
      applyEdit(readDefinition(patch).value, { kind: 'remove', path: ['steps', at] }),
    );
    const back = restoreEntry(without, ['steps'], at, raw, { kind: 'insert', path: ['steps'], at, value });
    // The step's own lines are unchanged; only blank lines between steps may have moved.
    expect(back.replaceAll(/\n+/g, '\n')).toBe(patch.replaceAll(/\n+/g, '\n'));
  }
});

test('a step is added in block style, with its command as a block', () => {
  const value = { name: 'report', type: 'ssh.exec', config: { command: 'a\n  b\n', timeout: 5 } };
  const added = edited(patch, { kind: 'insert', path: ['steps'], at: 3, value });
  expect(difference(patch, added)).toEqual([
    '+  - name: report',
    '+      command: |',
    '+        a',
    '+          b',
    '+      timeout: 5',
  ]);
});

test('JSON stays JSON', () => {
  const json = `{
  "name": "Check",
  "steps": [
    {
      "name": "list",
      "type": "ssh.exec",
      "config": { "command": "df -h", "timeout": 30 }
    }
  ]
}
`;
  const edits: Edit[] = [
    { kind: 'set', path: ['description'], value: 'Lists' },
    { kind: 'set', path: ['steps', 0, 'config', 'command'], value: 'df\ndu' },
    { kind: 'set', path: ['steps', 0, 'config', 'environment'], value: { A: 'b' } },
    {
      kind: 'insert',
      path: ['steps'],
      at: 1,
      value: { name: 'two', type: 'ssh.exec', config: { command: 'x' } },
    },
    { kind: 'move', path: ['steps'], from: 1, to: 0 },
    { kind: 'remove', path: ['steps', 1, 'config', 'timeout'] },
    { kind: 'rename', path: ['steps', 0, 'type'], to: 'kind' },
  ];
  let text = json;
  for (const edit of edits) text = edited(text, edit);
  expect(JSON.parse(text)).toEqual(edits.reduce(applyEdit, JSON.parse(json)));
  expect(text.split('\n').slice(0, 3)).toEqual(['{', '  "name": "Check",', '  "description": "Lists",']);
});

describe('whatever a form changes', () => {
  const text = fc.oneof(
    fc.string({ maxLength: 12 }),
    fc.constantFrom(
      'yes',
      'null',
      '1',
      '# no',
      'a: b',
      '- x',
      "it's",
      'a\nb',
      'a\n\nb\n',
      '  lead\nx',
      '\n',
      ' ',
      '{}',
      '%',
      '@x',
      'x\n\n',
      '\tx\ny',
      'é',
      '[a]',
    ),
  );
  const scalar = fc.oneof(text, fc.integer(), fc.boolean());
  const step = fc.record(
    {
      name: text,
      type: fc.constant('ssh.exec'),
      when: text,
      config: fc.record(
        {
          command: text,
          timeout: fc.integer(),
          environment: fc.dictionary(fc.constantFrom('A', 'B', 'C'), text, { maxKeys: 3 }),
          expected_exit_codes: fc.array(fc.integer(), { maxLength: 3 }),
        },
        { requiredKeys: ['command'] },
      ),
    },
    { requiredKeys: ['name', 'type', 'config'] },
  );
  const edit: fc.Arbitrary<Edit> = fc.oneof(
    fc.record({
      kind: fc.constant('set' as const),
      path: fc.constantFrom<Path>(
        ['name'],
        ['description'],
        ['timeout'],
        ['strategy', 'max_parallel'],
        ['parameters', 'ticket', 'default'],
        ['steps', 0, 'name'],
        ['steps', 1, 'when'],
        ['steps', 1, 'config', 'command'],
        ['steps', 0, 'config', 'command'],
        ['steps', 2, 'config', 'environment', 'A'],
        ['steps', 1, 'config', 'environment', 'B'],
      ),
      value: scalar,
    }),
    fc.record({
      kind: fc.constant('set' as const),
      path: fc.constantFrom<Path>(['steps', 1], ['steps', 0]),
      value: step,
    }),
    fc.record({
      kind: fc.constant('remove' as const),
      path: fc.constantFrom<Path>(
        ['description'],
        ['strategy', 'max_parallel'],
        ['steps', 1, 'on_unknown'],
        ['steps', 1, 'config', 'timeout'],
        ['steps', 0, 'config', 'timeout'],
        ['steps', 2, 'name'],
      ),
    }),
    fc.record({
      kind: fc.constant('insert' as const),
      path: fc.constant<Path>(['steps']),
      at: fc.nat(3),
      value: step,
    }),
    fc.record({
      kind: fc.constant('move' as const),
      path: fc.constantFrom<Path>(['steps']),
      from: fc.nat(2),
      to: fc.nat(2),
    }),
    fc.record({
      kind: fc.constant('move' as const),
      path: fc.constant<Path>(['parameters']),
      from: fc.nat(1),
      to: fc.nat(1),
    }),
  );

  test('every comment stays, the value is as meant, and the text is not rewritten', () => {
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 6 }), (edits) => {
        let text = patch;
        for (const one of edits) {
          if (!fits(readDefinition(text).value, one)) continue;
          const expected = applyEdit(readDefinition(text).value, one);
          const next = edited(text, one);
          expect(sameValue(readDefinition(next).value, expected), printPath(one.path)).toBe(true);
          // A command in a block has no comments of its own: lines of it that begin with # are text.
          if (one.kind !== 'set' || typeof one.value !== 'object')
            expect(commentsOf(next).toSorted()).toEqual(commentsOf(text).toSorted());
          text = next;
        }
      }),
      { numRuns: 40 },
    );
  });

  test('lines that the change is not about stay as they are', () => {
    fc.assert(
      fc.property(edit, (one) => {
        if (one.kind !== 'set' || typeof one.value === 'object') return;
        const gone = difference(patch, edited(patch, one)).filter((line) => line.startsWith('-'));
        const isBlock = one.path.at(-1) === 'command' && one.path[1] === 1;
        expect(gone.length).toBeLessThanOrEqual(isBlock ? 4 : 1);
      }),
      { numRuns: 200 },
    );
  });
});

/** Returns whether the edit's place exists, so that it can be removed or moved. */
function fits(value: unknown, edit: Edit): boolean {
  if (edit.kind === 'set')
    return edit.path[0] !== 'steps' || stepsOf(value)[Number(edit.path[1])] !== undefined;
  if (edit.kind === 'move' && edit.path[0] === 'steps')
    return stepsOf(value).length > Math.max(edit.from, edit.to);
  if (edit.kind !== 'remove') return true;
  let at: unknown = value;
  for (const part of edit.path) at = Object(at)[part];
  const parent = edit.path.slice(0, -1).reduce<unknown>((inner, part) => Object(inner)[part], value);
  return at !== undefined && Object.keys(Object(parent)).length > 1;
}
function stepsOf(value: unknown): unknown[] {
  return Object(value).steps ?? [];
}

/** Comments as the parser sees them, without text that only looks like one. */
function commentsOf(text: string): string[] {
  const { doc } = readDefinition(text);
  const found: string[] = [];
  const visit = (value: unknown) => {
    if (typeof value !== 'object' || value === null) return;
    for (const [key, inner] of Object.entries(value)) {
      if (key === 'comment' || key === 'commentBefore') found.push(...String(inner ?? '').split('\n'));
      else if (['items', 'key', 'value', 'contents'].includes(key)) {
        if (Array.isArray(inner)) inner.forEach(visit);
        else visit(inner);
      }
    }
  };
  visit(doc);
  return found.map((line) => line.trim()).filter((line) => line !== '');
}
