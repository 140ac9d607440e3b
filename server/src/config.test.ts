import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ConfigError, HelpRequested } from './config/config-problems.ts';
import { isForThisMachine, isLoopback } from './config/read-tls.ts';
import { readConfig } from './config.ts';

let folder: string;
let files: { cert: string; key: string };
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'opsconductor-config-'));
  files = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
  await writeFile(files.cert, 'x');
  await writeFile(files.key, 'x');
});
afterAll(() => rm(folder, { recursive: true }));

function problemsOf(argv: string[], env: Record<string, string> = {}): readonly string[] {
  try {
    readConfig(argv, env);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

test('by default it listens only on this machine and keeps its data next to the code', () => {
  const root = resolve(import.meta.dirname, '../..');
  expect(readConfig([], {})).toMatchObject({
    listen: { address: '127.0.0.1', port: 7700 },
    dataDir: join(root, '.opsconductor'),
    demo: true,
    databaseUrl: undefined,
    tls: { mode: 'off' },
    behindTlsProxy: false,
    logLevel: 'info',
  });
});

test('the master key is not in the data directory unless it is put there explicitly', () => {
  const { dataDir, masterKeyFile } = readConfig(['--data', join(folder, 'data')], {});
  expect(masterKeyFile.startsWith(`${dataDir}/`)).toBe(false);
  const given = readConfig([], { OPSCONDUCTOR_MASTER_KEY_FILE: join(folder, 'mk.json') });
  expect(given.masterKeyFile).toBe(join(folder, 'mk.json'));
});

test('a flag wins over its variable, and an empty variable counts as not set', () => {
  const env = { OPSCONDUCTOR_PORT: '8000', LOG_LEVEL: ' ', OPSCONDUCTOR_DEMO: 'false' };
  expect(readConfig(['--port', '0'], env)).toMatchObject({
    listen: { port: 0 },
    logLevel: 'info',
    demo: false,
  });
  expect(readConfig([], env).listen.port).toBe(8000);
  expect(readConfig(['--no-demo'], { OPSCONDUCTOR_DEMO: 'true' }).demo).toBe(false);
});

test('a DATABASE_URL with several hosts is refused, as only the first would be used', () => {
  for (const host of ['one,two', 'one%2Ctwo'])
    expect(problemsOf([], { DATABASE_URL: `postgres://u:p@${host}/x` })).toEqual([
      expect.stringMatching(/^DATABASE_URL: .*of one host/),
    ]);
  // A placeholder that was not filled in is reported when the host is dialed.
  expect(problemsOf([], { DATABASE_URL: 'postgres://u:p@%DB_HOST%/x' })).toEqual([]);
});

test('a file that DATABASE_URL names is looked at before the start, and no password is shown', () => {
  const url = 'postgres://u:hush@db.example.com/x?sslrootcert=/none/ca.pem';
  expect(problemsOf([], { DATABASE_URL: url })).toEqual([
    "DATABASE_URL: sslrootcert: /none/ca.pem can't be read (ENOENT)",
  ]);
});

test('all wrong values are reported together, each with its name, what was found and what is allowed', () => {
  const problems = problemsOf(
    ['--port', '70000', '--listen', 'example.com', '--colour', '--allowed-host', '*.example'],
    {
      OPSCONDUCTOR_PUBLIC_URL: 'https://x.example/path',
      DATABASE_URL: 'mysql://root:hunter2@db/x',
      OPSCONDUCTOR_BOOTSTRAP_TOKEN: 'too-short',
      LOG_LEVEL: 'loud',
    },
  );
  expect(problems).toEqual([
    '--colour: there is no such flag; --help lists them',
    '--public-url: found "https://x.example/path"; allowed: an http or https URL without path: https://opsconductor.example.com'.replace(
      '--public-url',
      'OPSCONDUCTOR_PUBLIC_URL',
    ),
    '--listen: found "example.com"; allowed: an IP address, or localhost',
    '--port: found "70000"; allowed: a whole number from 0 to 65535; 0 takes any free port',
    expect.stringMatching(/^DATABASE_URL: .*not shown.*postgres:/),
    '--allowed-host: found "*.example"; allowed: a host name or an IP address, without port or wildcard',
    expect.stringMatching(/^OPSCONDUCTOR_BOOTSTRAP_TOKEN: .*\(9 characters, not shown\).*32 to 512/),
    'LOG_LEVEL: found "loud"; allowed: trace, debug, info, warn, error, fatal, silent',
  ]);
  expect(problems.join()).not.toMatch(/hunter2|too-short/);
});

test('a flag whose value is empty, as that of an unset shell variable, is reported: as a path it would be this folder', () => {
  for (const flag of ['--data', '--audit-checkpoints'])
    expect(problemsOf([`${flag}=`])).toEqual([expect.stringMatching(`^${flag}: found ""; allowed: a f`)]);
  expect(problemsOf(['--data', ' '])).toEqual(['--data: found " "; allowed: a folder']);
  expect(problemsOf([], { OPSCONDUCTOR_DATA: '' })).toEqual([]);
});

test('a flag without its value, or a misspelled one with a value, is reported', () => {
  expect(problemsOf(['--port'])).toEqual(['--port <number>: the value is missing']);
  const misspelled = ['--prot: there is no such flag; did you mean --port?'];
  expect(problemsOf(['--prot', '80'])).toEqual(misspelled);
  expect(problemsOf(['--prot=80'])).toEqual(misspelled);
});

test('a value whose flag npm kept to itself is reported with the way to give it', () => {
  expect(problemsOf(['7741'])).toEqual([
    '7741: belongs to no flag; flags go after --, as in npm start -- --port 7722',
  ]);
});

describe('TLS', () => {
  test('is always on beyond loopback, with the private CA or the given certificate', () => {
    expect(readConfig(['--listen', '0.0.0.0'], {}).tls).toEqual({ mode: 'private_ca' });
    expect(readConfig(['--listen', '::'], {}).tls).toEqual({ mode: 'private_ca' });
    expect(readConfig(['--listen', '[::1]'], {})).toMatchObject({
      listen: { address: '::1' },
      tls: { mode: 'off' },
    });
    const given = readConfig(['--listen', '0.0.0.0', '--tls-cert', files.cert, '--tls-key', files.key], {});
    expect(given.tls).toEqual({ mode: 'files', certFile: files.cert, keyFile: files.key });
    expect(readConfig(['--tls'], {}).tls).toEqual({ mode: 'private_ca' });
  });

  test('plain HTTP beyond loopback must be requested explicitly', () => {
    const config = readConfig(['--listen', '0.0.0.0', '--behind-tls-proxy'], {});
    expect(config).toMatchObject({ tls: { mode: 'off' }, behindTlsProxy: true });
  });

  test('half a certificate, an unreadable one, and TLS behind a TLS proxy are reported', () => {
    expect(problemsOf(['--tls-cert', files.cert])).toHaveLength(1);
    expect(problemsOf(['--tls-cert', join(folder, 'none'), '--tls-key', files.key])[0]).toMatch(
      /^--tls-cert: found/,
    );
    expect(problemsOf(['--tls', '--behind-tls-proxy'])).toEqual([
      expect.stringContaining('--behind-tls-proxy'),
    ]);
  });

  test('the public URL must agree with the listener about TLS', () => {
    expect(problemsOf(['--public-url', 'https://ops.example'])).toEqual([
      expect.stringMatching(/leave it out .* or give --tls,/),
    ]);
    expect(problemsOf(['--public-url', 'https://ops.example', '--behind-tls-proxy'])).toEqual([]);
    expect(problemsOf(['--public-url', 'http://ops.example', '--listen', '0.0.0.0'])).toHaveLength(1);
  });

  test('loopback is recognized by address', () => {
    expect(['127.0.0.1', '127.9.9.9', '::1', 'localhost'].every(isLoopback)).toBe(true);
    expect(['0.0.0.0', '::', '10.127.0.0.1', '192.168.0.1'].some(isLoopback)).toBe(false);
  });
});

test.each([
  [[], true],
  [['--tls', '--public-url', 'https://localhost:7700'], true],
  [['--behind-tls-proxy', '--public-url', 'https://ops.example'], false],
  [['--behind-tls-proxy'], false],
  [['--tls', '--public-url', 'https://ops.example'], false],
  [['--listen', '0.0.0.0'], false],
  [['--listen', '0.0.0.0', '--public-url', 'https://localhost:7700'], false],
])('with %j, whoever reads what the server prints is its administrator: %s', (argv, expected) => {
  expect(isForThisMachine(readConfig(argv, {}))).toBe(expected);
});

test('variables that look like settings and are none are told, with what was meant, and never with their value', () => {
  const env = {
    OPSCONDUCTOR_RUN_RETENTION_DAY: '30',
    OPSCONDUCTOR_DATABASE_URL: 'postgres://a:hush@b/c',
    OPSCONDUCTOR_COLOR: 'blue',
    OPSCONDUCTOR_PORT: '7701',
    OPSCONDUCTOR_BEHIND_TLS_PROXY: 'false',
    OPSCONDUCTOR_ALLOWED_HOSTS: '',
    PATH: '/bin',
  };
  expect(
    readConfig(['--behind-tls-proxy', '--no-demo', '--allowed-host', 'b'], env).unknownVariables,
  ).toEqual([
    'OPSCONDUCTOR_RUN_RETENTION_DAY is no setting of the server and has no effect; did you mean OPSCONDUCTOR_RUN_RETENTION_DAYS?',
    'OPSCONDUCTOR_DATABASE_URL is no setting of the server and has no effect; did you mean DATABASE_URL?',
    'OPSCONDUCTOR_COLOR is no setting of the server and has no effect',
  ]);
});

test('a switch that is neither on nor off is reported even if a flag overrides it', () => {
  expect(problemsOf(['--no-demo'], { OPSCONDUCTOR_DEMO: 'maybe' })).toEqual([
    'OPSCONDUCTOR_DEMO: found "maybe"; allowed: true or false',
  ]);
});

test('the hosts are the allowed ones and the public one', () => {
  const argv = [
    '--allowed-host',
    'A.example',
    '--allowed-host',
    'b.example',
    '--public-url',
    'http://C.example:8080',
  ];
  expect(readConfig(argv, {})).toMatchObject({
    hosts: ['a.example', 'b.example', 'c.example'],
    publicUrl: 'http://c.example:8080',
  });
  expect(readConfig([], { OPSCONDUCTOR_ALLOWED_HOSTS: 'a.example, b.example' }).hosts).toEqual([
    'a.example',
    'b.example',
  ]);
  const addresses = ['192.0.2.7', 'FD00::7', '[fd00::8]'].flatMap((host) => ['--allowed-host', host]);
  expect(readConfig(addresses, {}).hosts).toEqual(['192.0.2.7', 'fd00::7', 'fd00::8']);
});

test('a request for help is not an error', () => {
  expect(() => readConfig(['--help'], {})).toThrow(HelpRequested);
  try {
    readConfig(['--help'], {});
  } catch (error) {
    expect((error as HelpRequested).text).toContain('--behind-tls-proxy');
  }
});

test('help names every setting that the documentation names, each with its variable', async () => {
  const page = await readFile(resolve(import.meta.dirname, '../../docs/operations.md'), 'utf8');
  const table = page.split('\n## Settings\n')[1]?.split('\n## ')[0] ?? '';
  const settings = (text: string) => [
    ...new Set(text.match(/--[a-z][a-z-]+(?= )|\b(?:OPSCONDUCTOR_[A-Z_]+|DATABASE_URL|LOG_LEVEL)\b/g)),
  ];
  const documented = settings(table.replaceAll(/^(?!\|).*$/gm, '').replaceAll('`', ' '));
  const help = helpText();
  expect(documented.length).toBeGreaterThan(40);
  expect(documented.filter((name) => !help.includes(name))).toEqual([]);
  expect(settings(help).filter((name) => !documented.includes(name))).toEqual(['--help']);
});

function helpText(): string {
  try {
    readConfig(['--help'], {});
  } catch (error) {
    if (error instanceof HelpRequested) return error.text;
  }
  throw new Error('no help was shown');
}

test('lifetimes of sessions and API tokens are read in units that people think in, within bounds', () => {
  const hourMs = 3_600_000;
  expect(readConfig([], {}).identity).toEqual({
    session: { idleMs: 12 * hourMs, absoluteMs: 7 * 24 * hourMs },
    apiTokenMaxDays: 365,
  });
  const env = { OPSCONDUCTOR_SESSION_IDLE_MINUTES: '15', OPSCONDUCTOR_API_TOKEN_MAX_DAYS: '30' };
  expect(readConfig(['--session-max-hours', '8'], env).identity).toEqual({
    session: { idleMs: hourMs / 4, absoluteMs: 8 * hourMs },
    apiTokenMaxDays: 30,
  });
  const wrong = ['--session-idle-minutes', '0', '--session-max-hours', '1e3'];
  expect(problemsOf(wrong, { OPSCONDUCTOR_API_TOKEN_MAX_DAYS: '-1' })).toEqual([
    '--session-idle-minutes: found "0"; allowed: a whole number from 1 to 10080',
    '--session-max-hours: found "1e3"; allowed: a whole number from 1 to 8760',
    'OPSCONDUCTOR_API_TOKEN_MAX_DAYS: found "-1"; allowed: a whole number from 1 to 3650',
  ]);
});

test('output and runs are kept forever by default, and runs never for less time than output', () => {
  expect(readConfig([], {}).retention).toEqual({ outputDays: undefined, runDays: undefined });
  const given = readConfig(['--output-retention-days', '30', '--drain-seconds', '5'], {
    OPSCONDUCTOR_RUN_RETENTION_DAYS: '365',
  });
  expect([given.retention, given.drainS]).toEqual([{ outputDays: 30, runDays: 365 }, 5]);
  const wrong = () =>
    readConfig(['--output-retention-days', '0', '--run-retention-days', '1.5', '--drain-seconds', '301'], {});
  expect(wrong).toThrow(/--drain-seconds.*\n--output-retention-days.*\n--run-retention-days/);
  expect(() => readConfig(['--output-retention-days', '30', '--run-retention-days', '29'], {})).toThrow(
    '--run-retention-days: found 29; allowed: 30 or more',
  );
});

test('every flag and variable is in docs/operations.md', async () => {
  const parts = await readdir(join(import.meta.dirname, 'config'));
  const sources = ['config.ts', ...parts.map((name) => join('config', name))];
  const [page = '', ...source] = await Promise.all(
    ['../../docs/operations.md', ...sources].map((name) => readFile(join(import.meta.dirname, name), 'utf8')),
  );
  const settings = new Set(source.join('\n').match(/--[a-z][a-z-]+|OPSCONDUCTOR_[A-Z_]+/g));
  expect(settings.size).toBeGreaterThan(30);
  expect([...settings].filter((setting) => !page.includes(setting))).toEqual([]);
});
