// Files to and from a Windows target: with the step type, and with commands that append to a file.
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { WinrmCopyConfig } from '@opsconductor/protocol';
import type { StepContext } from '../../agent/src/steps/step-type.ts';
import { winrmCopy } from '../../agent/src/steps/winrm/winrm-copy.ts';
import { WinrmPool } from '../../agent/src/winrm/connection/pool.ts';
import { type WinrmFixture, winrmPassword, winrmUser } from '../../test/support/winrm.ts';
import { median } from '../statistics.ts';
import type { PywinrmPeer } from './peer.ts';

const largeBytes = 100_000_000;
const echoBytes = 1_200_000;
const smallFiles = 1_000;
const rounds = 3;

type Row = readonly [figure: string, value: string, goal: string];

export async function timeCopies(
  host: WinrmFixture,
  peer: PywinrmPeer,
): Promise<{ rows: Row[]; notes: string[] }> {
  const dir = await mkdtemp(join(tmpdir(), 'opsconductor-winrm-bench-'));
  await mkdir(host.drive, { recursive: true });
  const pool = new WinrmPool();
  const copy = (config: WinrmCopyConfig) => timeCopy(host, pool, dir, config);
  try {
    const large = join(dir, 'large');
    await writeFile(large, randomBytes(largeBytes));
    await mkdir(join(dir, 'small'));
    for (let n = 0; n < smallFiles; n += 1)
      await writeFile(join(dir, 'small', String(n)), randomBytes(4_096));
    await writeFile(join(dir, 'echoed'), randomBytes(echoBytes));
    const put: number[] = [];
    const get: number[] = [];
    const echo: number[] = [];
    let requests = 0;
    for (let n = 0; n < rounds; n += 1) {
      await host.reset();
      put.push(await copy({ local_path: large, remote_path: `C:\\large ${n}` }));
      requests = (await host.stats()).requests.length;
      echo.push(await peer.time(`echo ${join(dir, 'echoed')} ${join(dir, `echo-${n}`)}`));
      get.push(
        await copy({ direction: 'pull', remote_path: `C:\\large ${n}`, local_path: join(dir, 'back') }),
      );
      await requireSame(large, join(dir, 'back'));
      await rm(join(dir, 'back'));
      await rm(join(host.drive, `large ${n}`));
    }
    const small = await copy({ local_path: join(dir, 'small'), remote_path: 'C:\\small' });
    const again = await copy({ local_path: join(dir, 'small'), remote_path: 'C:\\small' });
    const rate = (bytes: number, ms: number) => bytes / 1_000 / ms;
    const times = rate(largeBytes, median(put)) / rate(echoBytes, median(echo));
    return {
      rows: [
        [
          '100 MB put',
          `${requests} messages, ${rate(largeBytes, median(put)).toFixed(1)} MB/s`,
          `under ${Math.ceil(largeBytes / 240_000) + 80} messages`,
        ],
        [
          '100 MB put, times the rate of appending by commands',
          `${times.toFixed(0)} (${rate(echoBytes, median(echo)).toFixed(2)} MB/s)`,
          'at least 10',
        ],
        ['100 MB get', `${rate(largeBytes, median(get)).toFixed(1)} MB/s`, ''],
        [
          '1,000 files of 4 KiB put; the same again, unchanged',
          `${(small / 1_000).toFixed(1)} s; ${(again / 1_000).toFixed(1)} s`,
          '',
        ],
      ],
      notes: [
        `Files by \`winrm.copy\`, with the SHA-256 compared on both sides. The host’s file server is a stand-in in Python, so this measures the agent and the protocol, but not PowerShell. Appending by commands: pywinrm runs \`echo … >> file\` for each 6,000 bytes in a shell that it keeps, for ${echoBytes / 1e6} MB. ${rounds} rounds, in which they take turns.`,
      ],
    };
  } finally {
    await pool.close();
    await rm(dir, { recursive: true, force: true });
  }
}

async function timeCopy(
  host: WinrmFixture,
  pool: WinrmPool,
  dir: string,
  config: WinrmCopyConfig,
): Promise<number> {
  const step = winrmCopy({ pool, policy: { fileRoots: [{ path: dir, mayWrite: true }] } });
  const context: StepContext = {
    marker: 'bench.1.1',
    directoryName: 'bench.1.1.x',
    target: {
      id: 1,
      name: 'windows',
      host: host.host,
      port: host.port('http'),
      hostKeys: [],
      winrm: { transport: 'http', authentication: 'ntlm', certificateCheck: 'verify' },
    },
    credential: { kind: 'winrm_password', id: '1', version: 1, user: winrmUser, password: winrmPassword },
    output: { write: () => true, drained: async () => undefined },
    transfers: { progress: () => undefined, report: () => undefined },
    maySurvive: false,
    signal: new AbortController().signal,
    askServer: () => Promise.reject(new Error('There is no server')),
    beforeStart: async () => undefined,
    checkAddresses: () => undefined,
  };
  const startedMs = performance.now();
  const outcome = await step.execute(config, context);
  if (outcome.status !== 'succeeded') throw new Error(`The copy failed: ${outcome.message}`);
  return performance.now() - startedMs;
}

async function requireSame(one: string, other: string): Promise<void> {
  if ((await stat(one)).size === (await stat(other)).size) {
    const [a, b] = await Promise.all([readFile(one), readFile(other)]);
    if (a.equals(b)) return;
  }
  throw new Error('What came back is not what was sent');
}
