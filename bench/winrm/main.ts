// The WinRM client compared with pywinrm, on a host that isn't our own code (gss-ntlmssp, OpenSSL): a command on a new
// and on a warm connection, and files compared with a method that needs only commands.
import { powershellBootstrap } from '@opsconductor/protocol';
import { runCommand } from '../../agent/src/winrm/commands/run-command.ts';
import { WinrmPool } from '../../agent/src/winrm/connection/pool.ts';
import { fileServer } from '../../agent/src/winrm/files/file-server.ts';
import { cmdRunner } from '../../agent/src/winrm/powershell/powershell.ts';
import { startWinrm, type WinrmFixture, winrmPassword, winrmUser } from '../../test/support/winrm.ts';
import { writeReport } from '../report.ts';
import { median, medianRatio } from '../statistics.ts';
import { timeCopies } from './copies.ts';
import { type PeerTask, PywinrmPeer } from './peer.ts';

const commands = 60;
const notCounted = 5;

type Pair = { ours: number; theirs: number };

export async function benchWinrm(): Promise<void> {
  const host = await startWinrm({ emulated: { bootstrap: powershellBootstrap, cmdRunner, fileServer } });
  try {
    const peer = new PywinrmPeer(`http://127.0.0.1:${host.port('http')}/wsman`, winrmUser, winrmPassword);
    const [fresh, warm, keptShell] = await timeCommands(host, peer);
    const copies = await timeCopies(host, peer);
    await peer.stop();
    const row = (what: string, peer: string, pairs: readonly Pair[], goal: string) =>
      [
        `${what}, times ${peer}`,
        `${(1 / medianRatio(pairs)).toFixed(2)} (${ms(pairs, 'ours')} to ${ms(pairs, 'theirs')})`,
        goal,
      ] as const;
    await writeReport({
      name: 'winrm',
      title: 'Commands and files by WinRM',
      rows: [
        row('a command on a new connection', 'pywinrm on a new one', fresh, 'at least 1'),
        row('a command on a warm connection', 'pywinrm on a warm one', warm, 'at least 3'),
        row('a command on a warm connection', 'pywinrm in a shell that it keeps', keptShell, ''),
        ...copies.rows,
      ],
      notes: [
        `\`true\`, sealed with NTLM over HTTP, on the host that the tests use (test/winrm-fixture: gss-ntlmssp, /bin/sh), whose own time is included in both. The product’s side is \`runCommand\` with the agent’s pool: each command has a shell, which is made in advance if commands follow one another, and removed after the command’s end is known. A number above 1 means that the product is faster.`,
        `${commands} pairs of each, alternating, after ${notCounted} that are not counted.`,
        ...copies.notes,
      ],
    });
  } finally {
    await host.stop();
  }
}

async function timeCommands(host: WinrmFixture, peer: PywinrmPeer): Promise<[Pair[], Pair[], Pair[]]> {
  const pool = new WinrmPool();
  const ours = async (isNew: boolean) => {
    const own = isNew ? new WinrmPool() : pool;
    const startedMs = performance.now();
    await runTrue(host, own);
    const tookMs = performance.now() - startedMs;
    // Work left over here must not slow down the peer.
    await (isNew ? own.close() : own.settled());
    return tookMs;
  };
  const pairs = async (isNew: boolean, task: PeerTask): Promise<Pair[]> => {
    const all: Pair[] = [];
    for (let n = 0; n < commands + notCounted; n += 1) {
      const pair = { ours: await ours(isNew), theirs: await peer.time(task) };
      if (n >= notCounted) all.push(pair);
    }
    return all;
  };
  try {
    return [await pairs(true, 'new'), await pairs(false, 'warm'), await pairs(false, 'shell')];
  } finally {
    await pool.close();
  }
}

async function runTrue(host: WinrmFixture, pool: WinrmPool): Promise<void> {
  const end = await runCommand({
    connections: pool.of(
      {
        host: host.host,
        port: host.port('http'),
        login: { method: 'ntlm', user: winrmUser, password: winrmPassword },
        addressesOf: async (name) => [name],
      },
      '',
    ),
    settings: { environment: {}, workingDirectory: undefined, idleTimeoutS: 600 },
    line: { command: 'true', arguments: [] },
    input: Buffer.alloc(0),
    onOutput: () => undefined,
    signal: new AbortController().signal,
    killGraceMs: () => 0,
  });
  if (end.how !== 'exited' || end.exitCode !== 0) throw new Error(`The command ended otherwise: ${end.how}`);
}

function ms(pairs: readonly Pair[], of: keyof Pair): string {
  return `${median(pairs.map((pair) => pair[of])).toFixed(1)} ms`;
}
