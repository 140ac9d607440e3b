// What is carried over from Ansible, what is reported about the rest, and that no file can harm the server.
import type { InventoryFile, InventoryFormat, InventoryOptions } from '@opsconductor/protocol';
import { describe, expect, it } from 'vitest';
import { type ReadInventory, readInventory } from './read-inventory.ts';

const read = (
  format: Exclude<InventoryFormat, 'api'>,
  content: string,
  options: InventoryOptions = { groups: 'none' },
  more: InventoryFile[] = [],
): ReadInventory => readInventory(format, [{ path: 'hosts', content }, ...more], options);
const ini = (content: string, options?: InventoryOptions, more?: InventoryFile[]) =>
  read('ansible_ini', content, options, more);
const yaml = (content: string, options?: InventoryOptions, more?: InventoryFile[]) =>
  read('ansible_yaml', content, options, more);
const told = ({ findings }: ReadInventory) =>
  findings.map(({ kind, file, line, message }) => `${kind} ${file}:${line} ${message}`);
const wrong = ({ errors }: ReadInventory) => errors.map(({ line, message }) => `${line} ${message}`);

it('a host in one group with a line break in its name has nothing of two groups of which each has a part of it', () => {
  const inventory = yaml(
    [
      'one: {hosts: {web: }, vars: {tier: first}}',
      'two: {hosts: {web: }}',
      '"one\\ntwo": {hosts: {db: }, vars: {tier: second}}',
    ].join('\n'),
    { groups: 'none', labelVariables: ['tier'] },
  );
  expect(inventory.hosts.map(({ name, labels }) => [name, labels])).toEqual([
    ['web', { tier: 'first' }],
    ['db', { tier: 'second' }],
  ]);
});

describe('what can’t be carried over', () => {
  it('is reported by line, without secrets', () => {
    const inventory = ini(
      [
        'web ansible_password=hunter2 ansible_become_method=sudo',
        'db ansible_ssh_private_key_file=~/.ssh/deploy.pem',
        'app ansible_ssh_common_args="-o ProxyJump=jump"',
        'here ansible_connection=local',
        'box ansible_connection=docker',
        'tpl ansible_user="{{ who }}"',
        'gone ansible_host="{{ hostvars.x.ip }}"',
        'odd ansible_frobnicate=1',
      ].join('\n'),
    );
    expect(told(inventory)).toEqual([
      'dropped hosts:1 “ansible_password” can’t be carried over: secrets are not taken from inventories: create a credential for it.',
      'dropped hosts:1 “ansible_become_method” can’t be carried over: becoming another user is part of a step, not of a target: write `become` into the job.',
      'dropped hosts:2 “ansible_ssh_private_key_file” can’t be carried over: private keys are not taken from inventories. Create a credential of the key in “deploy.pem”, and give it to the segment, a target group or the target.',
      expect.stringMatching(
        /^dropped hosts:3 “ansible_ssh_common_args” .*name the jump hosts.* in `jump_hosts`/,
      ),
      expect.stringMatching(/^dropped hosts:6 “ansible_user” .*Jinja template/),
      expect.stringMatching(/^dropped hosts:8 “ansible_frobnicate” .*it has no equivalent here/),
      expect.stringMatching(/^left_out hosts:4 The host “here” is left out: ansible_connection=local/),
      expect.stringMatching(/^left_out hosts:5 The host “box” .*neither SSH nor WinRM/),
      expect.stringMatching(/^left_out hosts:7 The host “gone” .*address/),
    ]);
    expect(inventory.hosts.map(({ name }) => name)).toEqual(['web', 'db', 'app', 'tpl', 'odd']);
    expect(JSON.stringify(inventory)).not.toContain('hunter2');
  });

  it('is reported for files encrypted by Vault and for encrypted values in them', () => {
    const inventory = yaml(
      'all: {hosts: {web: {ansible_password: !vault "$ANSIBLE_VAULT;1.1"}}, vars: {ansible_user: !vault "x"}}',
      undefined,
      [{ path: 'group_vars/all/vault.yml', content: '$ANSIBLE_VAULT;1.1;AES256\n3132' }],
    );
    expect(told(inventory)).toEqual([
      expect.stringMatching(/^dropped hosts:1 “ansible_password”/),
      expect.stringMatching(/^dropped hosts:1 “ansible_user” .*Vault/),
      expect.stringMatching(/^dropped group_vars\/all\/vault.yml:1 The file is encrypted/),
    ]);
    expect(inventory.hosts).toMatchObject([{ name: 'web', settings: {} }]);
  });

  it('still takes precedence: a host’s template is not replaced by the value of its group', () => {
    const inventory = ini('[g]\nweb ansible_user="{{ me }}"\n[g:vars]\nansible_user=root\n');
    expect(inventory.hosts[0]?.settings).toEqual({});
  });

  it('becomes a label if its variable is chosen as one, except for secrets', () => {
    const inventory = ini('web rack=r1 db_password=x tier=front', {
      groups: 'none',
      labelVariables: ['rack', 'db_password'],
    });
    expect(inventory.hosts[0]?.labels).toEqual({ rack: 'r1' });
    expect(told(inventory)).toEqual([expect.stringMatching(/“db_password” .*secrets/)]);
    expect(inventory.unusedVariables).toEqual([{ name: 'tier', count: 1 }]);
  });

  it('is reported with its line in a JSON inventory', () => {
    const json =
      '{\n "web": {\n  "hosts": ["a", "b"]},\n "_meta": {"hostvars": {\n  "b": {\n   "ansible_become": true}}}}';
    const inventory = read('ansible_json', json);
    expect(told(inventory)).toEqual([expect.stringMatching(/^dropped hosts:6 “ansible_become”/)]);
    expect(inventory.hosts.map(({ name, line }) => [name, line])).toEqual([
      ['a', 3],
      ['b', 3],
    ]);
  });

  it('is reported once for the hosts that ansible-inventory has copied it to', () => {
    const json = (hosts: number) => {
      const names = Array.from({ length: hosts }, (_, n) => `h${n}`);
      const variables = names.map((name) => `"${name}": {\n"ansible_become": true}`);
      return `{"_meta": {"hostvars": {${variables.join(',')}}}, "web": {"hosts": ${JSON.stringify(names)}}}`;
    };
    const about = (hosts: number) => told(read('ansible_json', json(hosts)));
    const one = 'becoming another user is part of a step, not of a target: write `become` into the job.';
    const message = `dropped hosts:2 “ansible_become” can’t be carried over: ${one}`;
    expect(about(1)).toEqual([message]);
    expect(about(2)).toEqual([`${message} Likewise in line 3.`]);
    expect(about(5)).toEqual([`${message} Likewise in lines 3, 4, 5 and 6.`]);
    expect(about(200)).toEqual([`${message} Likewise in 199 more places, such as lines 3, 4, 5 and 6.`]);
  });

  it('does not hide which hosts are left out', () => {
    const lines = Array.from({ length: 1_500 }, (_, n) => `h${n} ansible_ssh_private_key_file=key-${n}`);
    const inventory = ini([...lines, 'here ansible_connection=local'].join('\n'));
    expect(inventory.findingCount).toBe(1_501);
    expect(told(inventory)).toHaveLength(1_001);
    expect(told(inventory).at(-1)).toMatch(/^left_out hosts:1501 The host “here”/);
  });

  it('is, of a key that occurs twice in a JSON inventory, all but the last, which is reported', () => {
    const json = [
      '{"web": {"hosts": ["a"]},',
      ' "we\\u0062": {"hosts": ["b"]},',
      ' "_meta": {"hostvars": {"b": {"ansible_host": "10.0.0.1", "x": {"y": {"z": 1, "z": 2}},',
      '  "ansible_host"                              :',
      '  "10.0.0.2"}, "ansible_host": {}}}}',
    ].join('\n');
    const inventory = read('ansible_json', json);
    const message = 'This key occurs twice in one object; the last one counts, as in Ansible.';
    expect(told(inventory)).toEqual([`note hosts:2 ${message}`, `note hosts:4 ${message}`]);
    expect(inventory.hosts.map(({ name, host }) => [name, host])).toEqual([['b', '10.0.0.2']]);
  });

  it('is reported with its line in a YAML inventory', () => {
    const text = '---\nweb:\n  hosts:\n    a:\n    b:\n      ansible_become: true\n    c:\n';
    const inventory = yaml(text);
    expect(wrong(yaml(`${text}      ansible_port: *no\n`))).toEqual([
      '8 This alias refers to nothing before it.',
    ]);
    expect(told(inventory)).toEqual([expect.stringMatching(/^dropped hosts:6 “ansible_become”/)]);
    expect(inventory.hosts.map(({ name, line }) => [name, line])).toEqual([
      ['a', 4],
      ['b', 5],
      ['c', 7],
    ]);
  });
});

describe('groups', () => {
  it('become labels by default, together with their parent groups', () => {
    const text = '[web]\na\n[front:children]\nweb\n';
    expect(ini(text, {}).hosts[0]?.labels).toEqual({ 'group/front': '', 'group/web': '' });
    expect(ini(text, { groups: 'target_groups' }).hosts[0]?.groups).toEqual(['front', 'web']);
  });

  it('in a JSON inventory may be lists, and an empty list does not make a host', () => {
    const inventory = read('ansible_json', '{"web": ["a"], "ungrouped": {}, "_meta": {"hostvars": {}}}');
    expect(inventory.hosts.map(({ name }) => name)).toEqual(['a']);
  });
});

describe('what is wrong with a file', () => {
  it('is reported all at once', () => {
    const inventory = ini(
      [
        '[web',
        '[a b]',
        '[x:what]',
        'a b',
        'c "d',
        'e[3:1]',
        '[g:children]',
        'missing',
        '[h:vars]',
        'novalue',
      ].join('\n'),
    );
    expect(wrong(inventory)).toEqual([
      '1 Brackets are for ranges: [01:50], [a:f] or [1:9:2].',
      expect.stringMatching(/^2 This is not a section/),
      expect.stringMatching(/^3 There is no section of “what”/),
      expect.stringMatching(/^4 After the name of a host/),
      '5 A quote is not closed.',
      '6 A range begins with the lower end.',
      '10 A variable is written as name = value.',
      expect.stringMatching(/^8 The child group “missing”/),
      expect.stringMatching(/^9 Variables are set for the group “h”/),
    ]);
    expect(inventory.hosts).toEqual([]);
  });

  it('is reported for hosts that could not be targets', () => {
    const inventory = ini('_a ansible_port=99999\nb ansible_host="x y"\nc ansible_port=ssh');
    expect(wrong(inventory)).toEqual([
      expect.stringMatching(/^1 The host “_a”: /),
      expect.stringMatching(/^1 The host “_a”: /),
      expect.stringMatching(/^1 The host “_a”: /),
      expect.stringMatching(/^2 The host “b”: host: /),
      expect.stringMatching(/^3 The host “c”: port: /),
    ]);
  });

  it('does not quote what may be a secret', () => {
    for (const text of [
      'all: {hosts: {web: {ansible_password: "hunter2',
      'all:\n  - hunter2: [\n',
      '\thunter2: x',
    ]) {
      const inventory = yaml(text);
      expect(inventory.errorCount).toBeGreaterThan(0);
      expect(JSON.stringify(inventory)).not.toContain('hunter2');
    }
    const json = read('ansible_json', '{"a": "hunter2"');
    expect(wrong(json)).toEqual([expect.stringMatching(/not JSON/)]);
    expect(JSON.stringify(json)).not.toContain('hunter2');
  });

  it('refuses text that can’t be stored', () => {
    const json = '{"g": {"hosts": ["a"]}, "_meta": {"hostvars": {"a": {"rack": "\\u0000"}}}}';
    expect(read('ansible_json', json, { groups: 'none', labelVariables: ['rack'] }).errorCount).toBe(1);
  });
});

describe('hostile files', () => {
  const nested = (text: string, times: number) => Array.from({ length: times }, () => text).join('');

  it.each<[string, ReadInventory | (() => ReadInventory), RegExp]>([
    [
      'groups in a cycle',
      () => ini('[a:children]\nb\n[b:children]\nc\n[c:children]\na\n'),
      /in a cycle: “.” has the child/,
    ],
    ['a group inside itself', () => ini('[a:children]\na\n'), /in a cycle/],
    ['ten million hosts', () => ini('web[0:9999999]'), /stands for 10000000 hosts/],
    ['many ranges', () => ini(nested('web[1:30000]\nx[1:30000]\n', 3)), /may have 50000 hosts/],
    ['deep lists', () => yaml(`all: ${nested('[', 100_000)}`), /nested deeper/],
    ['deep mappings', () => yaml(nested('{a: ', 100_000)), /nested deeper/],
    ['deep sequences', () => yaml(nested('- ', 100_000)), /nested deeper/],
    [
      'deep groups',
      () =>
        ini(`${Array.from({ length: 100 }, (_, n) => `[g${n}:children]\ng${n + 1}\n`).join('')}[g100]\na`),
      /deeper than 64/,
    ],
    ['an alias of what is around it', () => yaml('all: &a {children: {b: *a}}'), /alias refers to nothing/],
    [
      'many groups',
      () => ini(Array.from({ length: 6000 }, (_, n) => `[g${n}]\n`).join('')),
      /may have 5000 groups/,
    ],
    ['no list of hosts', () => read('ansible_json', nested('[', 1_000_000)), /not JSON/],
  ])('%s', (_, inventory, message) => {
    const { errors, hosts } = typeof inventory === 'function' ? inventory() : inventory;
    expect(errors.map((error) => error.message).join('\n')).toMatch(message);
    expect(hosts).toEqual([]);
  });

  it('aliases of aliases stay as small as they are written', () => {
    const lines = ['a0: &a0 {x: lol}'];
    for (let n = 1; n < 40; n++) lines.push(`a${n}: &a${n} {b: *a${n - 1}, c: *a${n - 1}}`);
    const inventory = yaml(
      `all:\n  hosts:\n    web:\n      rack: r1\n      bomb:\n${lines.map((line) => `        ${line}\n`).join('')}`,
      {
        groups: 'none',
        labelVariables: ['rack', 'bomb'],
      },
    );
    expect(inventory.hosts).toMatchObject([{ name: 'web', labels: { rack: 'r1' } }]);
    const groups = lines
      .map((line) => line.replaceAll(/[bcx]: /g, (name) => name).replace('x: lol', 'hosts: {web: }'))
      .join('\n');
    const children = `${groups.replaceAll('{b:', '{children: {b:').replaceAll(/(c: \*a\d+)\}/g, '$1}}')}\n`;
    expect(yaml(children).errors[0]?.message).toMatch(/2000000 things/);
  });

  it('are reported with the first hundred errors and a count of the rest', () => {
    const inventory = ini(Array.from({ length: 500 }, (_, n) => `web${n} junk`).join('\n'));
    expect(inventory.errors).toHaveLength(100);
    expect(inventory.errorCount).toBe(500);
  });
});
