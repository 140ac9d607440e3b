import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { quote } from '../../ssh/quote.ts';
import { runInShell, scriptOfAttempt } from './attempt-shell-setup.ts';
import { newNonce, ReportFilter } from './bootstrap-report.ts';
import {
  attemptScript,
  bootstrapCommand,
  markerLine,
  posixBootstrapCommand,
  type ScriptInput,
} from './ssh-exec-script.ts';

const nonce = newNonce();
const shells = ['/bin/dash', '/bin/bash', '/bin/busybox', '/usr/bin/ksh', '/usr/bin/mksh'].filter(existsSync);

async function runScript(shell: string, input: Partial<ScriptInput>, upTo?: number) {
  const { stdout, ...rest } = await runInShell(shell, input, upTo === undefined ? {} : { upTo });
  return { ...rest, stdout: stdout.toString() };
}

for (const [nth, shell] of shells.entries()) {
  test(`${shell} runs a command of any text unchanged`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'grapheme' }), async (value) => {
        fc.pre(!value.includes('\0') && value.isWellFormed());
        const { stdout, status } = await runScript(shell, {
          command: `printf %s ${quote(value)}`,
          environment: { A: value },
        });
        expect([stdout, status]).toEqual([value, 0]);
      }),
      { numRuns: 30 },
    );
  });

  test(`${shell} runs nothing of a script that was cut short`, async () => {
    const command = 'echo one; echo two';
    const { length } = scriptOfAttempt({ command });
    // After each byte in the first shell; in each other one after every fourth, not the same ones. Without the last byte:
    // it is a newline that doesn't matter.
    for (let upTo = nth; upTo < length - 1; upTo += nth === 0 ? 1 : 4) {
      const { stdout, stderr, report } = await runScript(shell, { command }, upTo);
      expect([stdout + stderr, report]).toEqual([expect.not.stringMatching(/one|two/), undefined]);
    }
  });

  test(`${shell} ends with the command's exit code, and with its own for a syntax error`, async () => {
    expect(await runScript(shell, { command: 'exit 77' })).toMatchObject({ status: 77 });
    const own = spawnSync(shell, ['-c', "echo 'open"], { argv0: 'sh' }).status;
    expect(own).toBeGreaterThan(0);
    expect(await runScript(shell, { command: "echo 'open" })).toMatchObject({ status: own });
    expect(await runScript(shell, { command: 'cat; exit 5' })).toMatchObject({ status: 5 });
  });

  test(`${shell} gives the prelude's variables to the command, but not to its children`, async () => {
    const value = `it's "$(here)" \\ \n -e`;
    const input = { command: `printf '%s|' "$OPS_1"; printenv OPS_1`, prelude: [`OPS_1=${quote(value)}`] };
    expect(await runScript(shell, input)).toMatchObject({ stdout: `${value}|`, status: 1 });
    const inBash = await runScript(shell, { ...input, shell: 'bash' });
    expect(inBash).toMatchObject({ stdout: `${value}|`, status: 1 });
  });

  test(`${shell} passes a command to bash, whole or not at all`, async () => {
    const command = 'a=(1 2); [[ ${#a[@]} == 2 ]] && cat && echo "$BASHOPTS" | grep -c extquote; exit 7';
    expect(await runScript(shell, { command, shell: 'bash' })).toMatchObject({ stdout: '1\n', status: 7 });
    const big = `printf %s ${'x'.repeat(400_000)}; : OPSCONDUCTOR_END`;
    expect((await runScript(shell, { command: big, shell: 'bash' })).stdout.length).toBe(400_000);
    const small = { command: 'echo one', shell: 'bash' } as const;
    const { length } = scriptOfAttempt(small);
    for (let upTo = 0; upTo < length - 1; upTo += 9) {
      const { stdout, stderr, report } = await runScript(shell, small, upTo);
      expect([stdout + stderr, report]).toEqual([expect.not.stringMatching(/one/), undefined]);
    }
  });

  test(`${shell} accepts a command of 400 KB`, async () => {
    const text = 'x'.repeat(400_000);
    expect((await runScript(shell, { command: `echo ${text}` })).stdout).toBe(`${text}\n`);
  });

  test(`${shell} begins a command once it is given the word, and never if its input ends before that`, async () => {
    const stdout = (input: Partial<ScriptInput>, upTo?: number) =>
      runScript(shell, { command: 'echo began', ...input }, upTo);
    expect(await stdout({})).toMatchObject({ stdout: 'began\n', report: { kind: 'started' } });
    for (const input of [{}, { shell: 'bash' }, { interpreter: 'sh' }, { stdin: 'go\n' }] as const) {
      const never = await stdout(input, Number.POSITIVE_INFINITY);
      expect(never).toMatchObject({ stdout: '', status: 1, report: { kind: 'started' } });
      for (const word of ['\n', 'go\n', ' \n', `${nonce}\n`]) {
        const wrong = await runInShell(shell, { command: 'echo began', ...input }, { word });
        expect([wrong.stdout.toString(), wrong.status]).toEqual(['', 1]);
      }
    }
  });
}

for (const shell of ['/bin/dash', '/bin/bash', '/usr/bin/mksh', '/bin/zsh', '/usr/bin/zsh'].filter(
  existsSync,
)) {
  test(`${shell} as a login shell takes the marker and leaves the script to the next one`, async () => {
    const marks = 'tr "\\0" "\\n" </proc/$$/environ | grep ^OPSCONDUCTOR_ATTEMPT=';
    const login = spawn(shell, ['-c', posixBootstrapCommand]);
    const stdout = text(login.stdout);
    login.stdin.end(`${markerLine('m.1.1')}${marks}\ncat /proc/$$/comm\n`);
    expect(await stdout).toBe('OPSCONDUCTOR_ATTEMPT=m.1.1\nsh\n');
  });

  test(`${shell} is known by SHELL, whatever the step makes of that`, async () => {
    const input = { command: 'true', environment: { SHELL: '/bin/csh' } };
    const env = { PATH: process.env['PATH'], SHELL: shell };
    const { report } = await runInShell(shell, input, { env, asksLoginShell: true });
    expect(report).toMatchObject({ kind: 'started', loginShell: 'posix' });
  });
}

test.each(['/bin/csh', '/usr/bin/fish', '/usr/sbin/nologin', ''])(
  'a login shell %s is another',
  async (SHELL) => {
    const env = { PATH: process.env['PATH'], SHELL };
    const { report } = await runInShell('/bin/sh', {}, { env, asksLoginShell: true });
    expect(report).toMatchObject({ kind: 'started', loginShell: 'other' });
  },
);

test('the exec string contains nothing that a login shell might expand', () => {
  for (const command of [bootstrapCommand, posixBootstrapCommand]) expect(command).not.toMatch(/[!\\\n$`"]/);
});

test('a target without bash reports it and starts nothing', async () => {
  const input = { command: 'echo one', shell: 'bash' } as const;
  const { stdout, report } = await runInShell('/bin/sh', input, { env: { PATH: '/nowhere' } });
  expect(stdout.toString()).toBe('');
  expect(report).toEqual({ kind: 'no_shell', which: 'bash' });
});

test('a marker that is not a single word is a bug', () => {
  expect(() => attemptScript({ marker: 'a b', command: 'true' }, nonce)).toThrow('not a marker');
});

test('the report is found and removed wherever the bytes are split', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 80 }),
      fc.uint8Array({ maxLength: 80 }),
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
      fc.boolean(),
      (before, after, sizes, teasing) => {
        // Only half of the nonce: a longer part, together with the real nonce, could form a nonce by chance.
        const tease = teasing ? nonce.slice(0, 16) : '';
        const whole = Buffer.concat([before, Buffer.from(`${tease}${nonce} start 4711\n`), after]);
        const filter = new ReportFilter(nonce);
        const out: Buffer[] = [];
        for (let at = 0, i = 0; at < whole.length; i += 1) {
          const size = sizes[i % sizes.length] ?? 1;
          out.push(...filter.push(whole.subarray(at, at + size)));
          at += size;
        }
        out.push(...filter.flush());
        expect(filter.report).toEqual({ kind: 'started', pid: 4711 });
        expect(Buffer.concat(out)).toEqual(Buffer.concat([before, Buffer.from(tease), after]));
      },
    ),
  );
});

test('a shell that echoes what it runs prints the reporting statement first, in the same piece or not', () => {
  const [shown, report, after] = [`+ echo '${nonce} start 7'\n`, `${nonce} start 7\n`, '+ true\n'];
  for (const pieces of [[shown + report + after], [shown, report, after], [shown + report, after]]) {
    const filter = new ReportFilter(nonce);
    const out = pieces.flatMap((piece) => filter.push(Buffer.from(piece)));
    expect(filter.report).toEqual({ kind: 'started', pid: 7 });
    expect(Buffer.concat(out).toString()).toBe(shown + after);
  }
});

test('output without a report is passed on unchanged', () => {
  const filter = new ReportFilter(nonce);
  const bytes = Buffer.from(`This account is not available. ${nonce.slice(0, 20)}`);
  const out = Buffer.concat([...filter.push(bytes), ...filter.flush()]);
  expect([out.toString(), filter.report]).toEqual([bytes.toString(), undefined]);
});

test('once the report is known, bytes are passed on without a copy', () => {
  const filter = new ReportFilter(nonce);
  filter.push(Buffer.from(`${nonce} start 1\n`));
  const bytes = Buffer.from(`${nonce} start 2\n`);
  expect(filter.push(bytes)[0]).toBe(bytes);
  expect(filter.report).toEqual({ kind: 'started', pid: 1 });
});

test('a report line that never ends is output, and holds nothing back', () => {
  const filter = new ReportFilter(nonce);
  const all = [
    Buffer.from(`before\n${nonce} start `),
    ...Array.from({ length: 100 }, () => Buffer.alloc(64, '1')),
  ];
  const passed = all.flatMap((bytes) => filter.push(bytes));
  expect(filter.flush()).toEqual([]);
  expect(filter.report).toBeUndefined();
  expect(Buffer.concat(passed)).toEqual(Buffer.concat(all));
});

for (const shell of shells) {
  test(`${shell} feeds a command its input, and runs nothing of what the command leaves unread`, async () => {
    const big = `${'line of text\n'.repeat(20_000)}last without end`;
    const counted = await runScript(shell, { command: 'wc -c', stdin: big, environment: { A: 'b' } });
    expect(Number(counted.stdout)).toBe(big.length + 1);
    const left = await runScript(shell, { command: 'read -r x; echo "$x"', stdin: 'one\necho two\n' });
    expect([left.stdout, left.status]).toEqual(['one\n', 0]);
    const odd = "OPSCONDUCTOR_END\n'$(id)' \\ `id`\n";
    expect(await runScript(shell, { command: 'cat', stdin: odd })).toMatchObject({ stdout: odd });
    expect(await runScript(shell, { command: 'cat; exit 4', stdin: '' })).toMatchObject({ status: 4 });
  });

  test.runIf(existsSync('/usr/bin/perl'))(
    `${shell} passes a program to its interpreter, and its input separately`,
    async () => {
      const command = 'print "$ENV{A} <", join("", <STDIN>), ">\\n"; exit 3;';
      const environment = { A: "it's $x" };
      const alone = await runScript(shell, { command, environment, interpreter: 'perl' });
      expect([alone.stdout, alone.status]).toEqual(["it's $x <>\n", 3]);
      const fed = await runScript(shell, {
        command,
        environment,
        interpreter: '/usr/bin/perl',
        stdin: 'in\n',
      });
      expect([fed.stdout, fed.status]).toEqual(["it's $x <in\n>\n", 3]);
      const none = await runScript(shell, { command, interpreter: 'no-such-program' });
      expect(none.report).toEqual({ kind: 'no_shell', which: 'no-such-program' });
    },
  );
}
