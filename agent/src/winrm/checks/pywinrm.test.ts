// pywinrm against the same host in the same run: shows that what the host accepts and refuses is not tailored to our
// client.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import { hostOfFile, winrmPassword, winrmTest, winrmUser } from '../testing/winrm-setup.ts';

const host = hostOfFile({ kerberos: true });
const program = join(import.meta.dirname, '../../../../test/winrm-fixture/pywinrm_client.py');

type Answer = { exit: number; stdout: string; stderr: string } | { error: string };

async function ask(cases: Record<string, unknown>[]): Promise<Answer[]> {
  const { fixture } = host;
  const env = {
    ...process.env,
    KRB5_CONFIG: fixture.krb5Config,
    KRB5CCNAME: `FILE:${fixture.dir}/tickets`,
    PYTHONDONTWRITEBYTECODE: '1',
  };
  await promisify(execFile)('/usr/bin/kinit', ['-k', '-t', fixture.keytab, `${winrmUser}@FIXTURE.TEST`], {
    env,
  });
  const whole = cases.map((each) => ({
    username: winrmUser,
    password: winrmPassword,
    server_cert_validation: 'ignore',
    command: 'echo out; echo err >&2; cat; exit 7',
    input: 'ä€𝄞',
    ...each,
  }));
  const { stdout } = await promisify(execFile)('/usr/bin/python3', [program, JSON.stringify(whole)], { env });
  return JSON.parse(stdout) as Answer[];
}

winrmTest(
  'another client runs commands with every authentication, and is refused when it should be',
  async () => {
    const { fixture } = host;
    const http = `http://127.0.0.1:${fixture.port('http')}/wsman`;
    const plain = `http://127.0.0.1:${fixture.port('plain')}/wsman`;
    const https = `https://127.0.0.1:${fixture.port('https')}/wsman`;
    const strict = `https://127.0.0.1:${fixture.port('strict')}/wsman`;
    const good = [
      { endpoint: http, transport: 'ntlm', message_encryption: 'always' },
      { endpoint: plain, transport: 'basic', message_encryption: 'never' },
      { endpoint: https, transport: 'ntlm' },
      { endpoint: strict, transport: 'ntlm' },
      { endpoint: https, transport: 'basic' },
      {
        endpoint: https,
        transport: 'kerberos',
        username: `${winrmUser}@FIXTURE.TEST`,
        kerberos_hostname_override: 'localhost',
      },
      {
        endpoint: https,
        transport: 'certificate',
        cert_pem: join(fixture.dir, 'client.pem'),
        cert_key_pem: join(fixture.dir, 'client.key'),
      },
    ];
    const bad = [
      { endpoint: http, transport: 'ntlm', message_encryption: 'always', password: 'wrong' },
      { endpoint: http, transport: 'ntlm', message_encryption: 'never' },
      { endpoint: http, transport: 'basic' },
      { endpoint: https, transport: 'basic', password: 'wrong' },
      { endpoint: strict, transport: 'ntlm', send_cbt: false },
    ];
    const answers = await ask([...good, ...bad]);
    for (const answer of answers.slice(0, good.length)) {
      expect(answer).toEqual({ exit: 7, stdout: 'out\nä€𝄞', stderr: 'err\n' });
    }
    for (const answer of answers.slice(good.length)) expect(answer).toHaveProperty('error');
    expect((await fixture.stats()).shells).toBe(0);
  },
);

// As Windows does; docs/windows.md names the sources.
winrmTest(
  'input is a pipe only for a client that asks for one; otherwise it is a console whose lines end with Enter',
  async () => {
    const endpoint = `http://127.0.0.1:${host.fixture.port('http')}/wsman`;
    const way = { endpoint, transport: 'ntlm', message_encryption: 'always' };
    const reads = (seconds: number) =>
      `test -t 0 && echo console; timeout ${seconds} head -n 1; echo "exit $?"`;
    const answers = await ask([
      { ...way, command: reads(60), input: 'typed\n' },
      { ...way, command: reads(60), input: 'typed\r', console: true },
      { ...way, command: reads(0.5), input: 'typed\n', console: true },
    ]);
    expect(answers).toEqual(
      ['typed\nexit 0\n', 'console\ntyped\nexit 0\n', 'console\nexit 124\n'].map((stdout) => ({
        exit: 0,
        stdout,
        stderr: '',
      })),
    );
  },
);
