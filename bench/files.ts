// Files to a target and back, against OpenSSH's sftp and rsync: one of 1 GiB, 5,000 small ones, and a sync after 1 % of
// them changed. On tmpfs, so that no disk is measured.
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, open, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BenchSystem, startBenchSystem } from './bench-system.ts';
import { writeReport } from './report.ts';
import { createSecretJob, secretCount } from './secret-runs.ts';
import { readRun } from './sse-reader.ts';
import type { Ssh2Transfer } from './ssh2-file.ts';
import { median, medianRatio } from './statistics.ts';

const rounds = 5;
/** Of 1 GiB: with five pairs, their median differed by a tenth from one run to the next. */
const largeRounds = 15;
/** Rounds for transfers with secrets, compared with those without. */
const secretRounds = 3;
const largeBytes = 2 ** 30;
const smallFiles = 5_000;
const smallBytes = 4_096;
const cipher = 'aes128-gcm@openssh.com';

interface Place {
  local: string;
  remote: string;
}
type Pair = { ours: number; theirs: number };
type Timed = () => Promise<number>;

export async function benchFiles(): Promise<void> {
  if (!(await has('rsync'))) throw new Error('rsync is not installed: apt-get install rsync');
  const dir = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'opsconductor-files-'));
  const place = { local: join(dir, 'local'), remote: join(dir, 'remote') };
  await chmod(dir, 0o755);
  for (const path of Object.values(place)) await mkdir(path);
  await chmod(place.remote, 0o777);
  const system = await startBenchSystem({ fileRoots: [place.local] });
  try {
    await measure(system, place);
  } finally {
    await system.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

async function measure(system: BenchSystem, place: Place): Promise<void> {
  const large = await againstSftp(system, place);
  const largeMb = await peakMb(system.agentPid);
  const small = await smallOnes(system, place);
  const rate = (ms: number) => `${(largeBytes / 1e3 / ms).toFixed(0)} MB/s`;
  const seconds = (pairs: readonly Pair[], of: keyof Pair) =>
    `${(median(pairs.map((pair) => pair[of])) / 1e3).toFixed(2)} s`;
  const times = (pairs: readonly Pair[]) => (1 / medianRatio(pairs)).toFixed(2);
  const compared = (what: string, peer: string, pairs: readonly Pair[], goal: string) =>
    [
      `${what}, times \`${peer}\``,
      `${times(pairs)} (${seconds(pairs, 'ours')} to ${seconds(pairs, 'theirs')})`,
      goal,
    ] as const;
  const withSecrets = (what: string, pairs: readonly Pair[]) =>
    [
      `${what}, with ${secretCount} secrets of the run ÷ without`,
      `${medianRatio(pairs).toFixed(2)} (${seconds(pairs, 'ours')} to ${seconds(pairs, 'theirs')})`,
      '',
    ] as const;
  await writeReport({
    name: 'files',
    title: 'Files to a target and back',
    rows: [
      ['1 GiB put, median', rate(median(large.put.map(({ ours }) => ours))), ''],
      compared('1 GiB put', 'sftp -b', large.put, 'at least 1.0'),
      ['1 GiB get, median', rate(median(large.get.map(({ ours }) => ours))), ''],
      compared('1 GiB get', 'sftp -b', large.get, 'at least 1.2'),
      compared('1 GiB put by `ssh2` alone', 'sftp -b', large.barePut, ''),
      compared('1 GiB get by `ssh2` alone', 'sftp -b', large.bareGet, ''),
      withSecrets('1 GiB put', large.secret),
      compared('5,000 files put', 'sftp -r', small.putSftp, 'at least 3.5'),
      compared('5,000 files put', 'rsync -a', small.putRsync, 'at least 0.9'),
      withSecrets('5,000 files put', small.secret),
      compared('5,000 files get', 'sftp -r', small.getSftp, 'at least 3.5'),
      compared('5,000 files get', 'rsync -a', small.getRsync, 'at least 0.9'),
      compared('sync, 1 % of 5,000 changed', 'rsync -a', small.sync, 'at least 0.9'),
      ['peak memory of the agent, after 1 GiB', `${largeMb} MB`, 'under 200 MB'],
      ['peak memory of the agent, at the end', `${await peakMb(system.agentPid)} MB`, 'under 200 MB'],
    ],
    notes: [
      'The product’s time is that of a run of one step on a warm connection, from before the POST until a reader has seen it end. The peers open a new connection each time, as they always do. A number above 1 means that the product is faster.',
      `Nothing is replaced: what an earlier round has left is removed before the timing begins. All use the same cipher (${cipher}). The 5,000 files have 4 KiB each, in 50 directories. The product writes each file under a temporary name and renames it. After each round, what arrived is compared by SHA-256 (1 GiB) or counted.`,
      `${rounds} pairs after one that is not counted, ${largeRounds} of 1 GiB; ${secretRounds} pairs with and without secrets, which are looked for in the output of a step, not in files.`,
      '`ssh2` alone: the library that the agent is built on, with `fastPut` and `fastGet` and 16 pieces of 255 KiB at a time, on an open connection. It writes under the final name and verifies nothing.',
      'The agent was started with `MALLOC_ARENA_MAX=1`, as in the unit in docs/operations.md.',
    ],
  });
}

async function againstSftp(
  system: BenchSystem,
  place: Place,
): Promise<Record<'put' | 'get' | 'barePut' | 'bareGet' | 'secret', Pair[]>> {
  const source = join(place.local, 'large');
  const sha256 = await writeLarge(source);
  const up = await transferJob(system, 'sftp.upload', source, join(place.remote, 'ours'));
  const back = join(place.local, 'back');
  const down = await transferJob(system, 'sftp.download', back, join(place.remote, 'ours'));
  const putOurs = without(join(place.remote, 'ours'), () => timeRun(system, up));
  const put = await pairs(putOurs, putByPeer(system, place, source), largeRounds);
  await requireSame(join(place.remote, 'ours'), sha256);
  const get = await pairs(
    without(back, () => timeRun(system, down)),
    getByPeer(system, place, join(place.remote, 'ours')),
    largeRounds,
  );
  await requireSame(back, sha256);
  const { barePut, bareGet } = await bareAgainstSftp(system, place, source);
  await requireSame(join(place.local, 'bare'), sha256);
  const withSecrets = await transferWithSecrets(system, source, join(place.remote, 'ours'));
  const secret = await secretPairs(without(join(place.remote, 'ours'), withSecrets), putOurs);
  await requireSame(join(place.remote, 'ours'), sha256);
  await empty(place);
  return { put, get, barePut, bareGet, secret };
}

/** Removes what an earlier round has left there, before the timing begins. */
function without(path: string, then: Timed): Timed {
  return async () => {
    await rm(path, { recursive: true, force: true });
    return then();
  };
}

function putByPeer(system: BenchSystem, place: Place, source: string): Timed {
  const to = join(place.remote, 'theirs');
  return without(to, () => timeSftp(system, [`put ${source} ${to}`]));
}

function getByPeer(system: BenchSystem, place: Place, source: string): Timed {
  const to = join(place.local, 'theirs');
  return without(to, () => timeSftp(system, [`get ${source} ${to}`]));
}

async function bareAgainstSftp(
  system: BenchSystem,
  place: Place,
  source: string,
): Promise<Record<'barePut' | 'bareGet', Pair[]>> {
  const child = fork(join(import.meta.dirname, 'ssh2-file.ts'), { execArgv: ['--import', 'tsx'] });
  const remote = join(place.remote, 'bare');
  const local = join(place.local, 'bare');
  try {
    return {
      barePut: await pairs(
        without(remote, () => timeSsh2(child, system, { way: 'put', from: source, to: remote })),
        putByPeer(system, place, source),
      ),
      bareGet: await pairs(
        without(local, () => timeSsh2(child, system, { way: 'get', from: remote, to: local })),
        getByPeer(system, place, remote),
      ),
    };
  } finally {
    child.disconnect();
  }
}

async function timeSsh2(
  child: ChildProcess,
  { target }: BenchSystem,
  transfer: Omit<Ssh2Transfer, 'target'>,
): Promise<number> {
  const { host, port, user, privateKey } = target;
  child.send({ target: { host, port, user, privateKey, cipher }, ...transfer } satisfies Ssh2Transfer);
  const [elapsedMs] = (await once(child, 'message')) as [number];
  return elapsedMs;
}

async function smallOnes(system: BenchSystem, place: Place) {
  const source = join(place.local, 'small');
  await writeSmall(source);
  const ours = join(place.remote, 'ours');
  const theirs = join(place.remote, 'theirs');
  const up = await transferJob(system, 'sftp.upload', source, ours);
  const down = await transferJob(system, 'sftp.download', join(place.local, 'back'), ours);
  const put = without(ours, () => timeRun(system, up));
  const putSftp = await pairs(
    put,
    without(theirs, () => timeSftp(system, [`put -R ${source} ${theirs}`])),
  );
  const putRsync = await pairs(
    put,
    without(theirs, () => timeRsync(system, `${source}/`, `:${theirs}/`)),
  );
  await requireCount(ours);
  const secret = await secretPairs(without(ours, await transferWithSecrets(system, source, ours)), put);
  await requireCount(ours);
  const back = join(place.local, 'back');
  const get = without(back, () => timeRun(system, down));
  const taken = join(place.local, 'taken');
  const getSftp = await pairs(
    get,
    without(taken, () => timeSftp(system, [`get -R ${ours} ${taken}`])),
  );
  const getRsync = await pairs(
    get,
    without(taken, () => timeRsync(system, `:${ours}/`, `${taken}/`)),
  );
  await requireCount(back);
  const sync = await syncPairs(system, source, { ours, theirs });
  return { putSftp, putRsync, secret, getSftp, getRsync, sync };
}

async function syncPairs(
  system: BenchSystem,
  source: string,
  { ours, theirs }: { ours: string; theirs: string },
): Promise<Pair[]> {
  const config = { mode: 'mirror', delete: true };
  const job = await transferJob(system, 'sftp.sync', source, ours, config);
  await timeRun(system, job);
  await timeRsync(system, `${source}/`, `:${theirs}/`);
  let round = 0;
  return pairs(
    async () => {
      round += 1;
      await changeSome(source, round);
      return timeRun(system, job);
    },
    () => timeRsync(system, `${source}/`, `:${theirs}/`, '--delete'),
  );
}

/** Runs both alternately; the first pair isn't counted. */
async function pairs(ours: Timed, theirs: Timed, counted = rounds): Promise<Pair[]> {
  const all: Pair[] = [];
  for (let round = 0; round <= counted; round += 1) all.push({ ours: await ours(), theirs: await theirs() });
  return all.slice(1);
}

async function secretPairs(withSecrets: Timed, without: Timed): Promise<Pair[]> {
  return pairs(withSecrets, without, secretRounds);
}

/** An upload in a run with secrets, which are sealed before the timing starts. */
async function transferWithSecrets(
  system: BenchSystem,
  localPath: string,
  remotePath: string,
): Promise<Timed> {
  const config = { local_path: localPath, remote_path: remotePath };
  const job = await createSecretJob(system, [{ type: 'sftp.upload', config }]);
  return async () => timeRun(system, job.id, await job.request());
}

async function transferJob(
  system: BenchSystem,
  type: string,
  localPath: string,
  remotePath: string,
  more: object = {},
): Promise<number> {
  const config = { local_path: localPath, remote_path: remotePath, ...more };
  const job = {
    name: `bench ${type} ${randomBytes(4).toString('hex')}`,
    steps: [{ name: 'move', type, config }],
  };
  return (await system.api<{ id: number }>('POST', '/jobs', job)).id;
}

async function timeRun(
  system: BenchSystem,
  jobId: number,
  request: object = { targetIds: system.targetIds.slice(0, 1) },
): Promise<number> {
  const startedMs = performance.now();
  const { id } = await system.startWith(jobId, request);
  const { status, endedMs } = await readRun(
    `${system.baseUrl}/api/v1/runs/${id}/events?output=all`,
    system.token,
  );
  if (status !== 'succeeded') {
    const { steps } = await system.api<{ steps: { errorMessage: string }[] }>('GET', `/runs/${id}/steps`);
    throw new Error(`the run ended ${status}: ${steps[0]?.errorMessage}`);
  }
  return endedMs - startedMs;
}

async function timeSftp(system: BenchSystem, commands: readonly string[]): Promise<number> {
  const batch = join(system.dir, 'batch');
  await writeFile(batch, `${commands.join('\n')}\n`);
  const { target } = system;
  return timed('sftp', [
    '-q',
    '-P',
    String(target.port),
    ...clientOptions(system),
    '-b',
    batch,
    `${target.user}@${target.host}`,
  ]);
}

async function timeRsync(system: BenchSystem, from: string, to: string, ...more: string[]): Promise<number> {
  const { target } = system;
  const host = `${target.user}@${target.host}`;
  const shell = ['ssh', '-p', String(target.port), ...clientOptions(system)].join(' ');
  const [source, destination] = [from, to].map((path) => (path.startsWith(':') ? host + path : path));
  // The user there is not the owner of the files created here.
  return timed('rsync', [
    '-a',
    '--no-owner',
    '--no-group',
    '--omit-dir-times',
    ...more,
    '-e',
    shell,
    source ?? '',
    destination ?? '',
  ]);
}

function clientOptions({ knownHostsFile, keyFile }: BenchSystem): string[] {
  const options = [
    'BatchMode=yes',
    'StrictHostKeyChecking=yes',
    `UserKnownHostsFile=${knownHostsFile}`,
    'IdentitiesOnly=yes',
    `Ciphers=${cipher}`,
  ];
  return ['-F', 'none', '-i', keyFile, ...options.flatMap((option) => ['-o', option])];
}

async function timed(command: string, args: readonly string[]): Promise<number> {
  const startedMs = performance.now();
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const [code] = (await once(child, 'exit')) as [number];
  if (code !== 0) throw new Error(`${command} ended with ${code}`);
  return performance.now() - startedMs;
}

async function writeLarge(path: string): Promise<string> {
  const handle = await open(path, 'w', 0o644);
  const hash = createHash('sha256');
  const piece = randomBytes(2 ** 20);
  for (let n = 0; n < largeBytes / piece.length; n += 1) {
    piece.writeUInt32LE(n, 0);
    hash.update(piece);
    await handle.write(piece);
  }
  await handle.close();
  return hash.digest('hex');
}

async function writeSmall(directory: string): Promise<void> {
  for (let n = 0; n < smallFiles; n += 1) {
    const inner = join(directory, `d${n % 50}`);
    if (n < 50) await mkdir(inner, { recursive: true });
    await writeFile(join(inner, `file-${n}`), randomBytes(smallBytes), { mode: 0o644 });
  }
}

async function changeSome(directory: string, round: number): Promise<void> {
  for (let n = round; n < smallFiles; n += 100) {
    const path = join(directory, `d${n % 50}`, `file-${n}`);
    await writeFile(path, randomBytes(smallBytes));
    await utimes(path, 1_700_000_000 + round, 1_700_000_000 + round);
  }
}

async function requireSame(path: string, sha256: string): Promise<void> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path)) hash.update(piece as Buffer);
  if (hash.digest('hex') !== sha256) throw new Error(`${path} differs from what was sent`);
}

async function requireCount(directory: string): Promise<void> {
  const names = await readdir(directory, { recursive: true });
  const files = names.filter((name) => /file-\d+$/.test(name)).length;
  if (files !== smallFiles) throw new Error(`${directory} has ${files} files in place of ${smallFiles}`);
}

async function empty({ local, remote }: Place): Promise<void> {
  for (const path of [local, remote])
    for (const name of await readdir(path)) await rm(join(path, name), { recursive: true });
}

async function has(program: string): Promise<boolean> {
  const child = spawn('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' });
  const [code] = (await once(child, 'exit')) as [number];
  return code === 0;
}

async function peakMb(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Math.round(Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024);
}
