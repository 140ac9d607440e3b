// A copy by the SCP protocol, for targets that have no SFTP. It needs a shell and scp there.
import type { StepOutcome } from '@opsconductor/protocol';
import type { ClientChannel } from 'ssh2';
import { findDestination } from '../sftp/find-ends.ts';
import { LocalTree } from '../sftp/local/local-tree.ts';
import { ProgressMeter } from '../sftp/report/progress-meter.ts';
import { TransferLines } from '../sftp/report/transfer-lines.ts';
import { endOutcome, failureOutcome } from '../sftp/report/transfer-outcomes.ts';
import { TransferReport } from '../sftp/report/transfer-report.ts';
import type { TransferDeps } from '../sftp/run-transfer.ts';
import type { TransferPlan } from '../sftp/transfer-plan.ts';
import { bytesOf } from '../sftp/tree/name-bytes.ts';
import { partsOf } from '../sftp/tree/safe-name.ts';
import { temporaryName } from '../sftp/tree/temporary-name.ts';
import { fileError, TransferError } from '../sftp/tree/transfer-error.ts';
import { startShell } from '../ssh/become/start-as.ts';
import type { Lease } from '../ssh/pool/pool.ts';
import { quote } from '../ssh/quote.ts';
import { sshContext } from '../ssh/ssh-context.ts';
import type { StepContext } from '../steps/step-type.ts';
import { ScpChannel } from './scp-channel.ts';
import { takeEntry } from './scp-download.ts';
import { sendEntry } from './scp-upload.ts';

/** How long a clean-up may take that nobody waits for. */
const cleanUpMs = 5_000;

export async function runScp(
  deps: TransferDeps,
  plan: TransferPlan,
  context: StepContext,
): Promise<StepOutcome> {
  return new ScpCopy(deps, plan, context).run();
}

class ScpCopy {
  readonly #deps: TransferDeps;
  readonly #plan: TransferPlan;
  readonly #context: StepContext;
  readonly #lines: TransferLines;
  readonly #report: TransferReport;
  readonly #meter: ProgressMeter;
  readonly #local: LocalTree;
  #carrier: StepOutcome['ssh'];

  constructor(deps: TransferDeps, plan: TransferPlan, context: StepContext) {
    this.#deps = deps;
    this.#plan = plan;
    this.#context = context;
    this.#local = new LocalTree(deps.policy);
    this.#lines = new TransferLines(context.output);
    this.#report = new TransferReport((failure) => this.#lines.failed(failure));
    this.#meter = new ProgressMeter((progress) => context.transfers.progress(progress));
  }

  async run(): Promise<StepOutcome> {
    const { transfers } = this.#context;
    const startedMs = performance.now();
    let hasBegun = false;
    let outcome: StepOutcome;
    try {
      await this.#context.beforeStart();
      hasBegun = true;
      this.#meter.start();
      await (this.#plan.direction === 'push' ? this.#push() : this.#pull());
      outcome = endOutcome(this.#report, this.#plan);
    } catch (error) {
      outcome = failureOutcome(error, { context: this.#context, report: this.#report, hasBegun });
    } finally {
      this.#meter.stop();
      await this.#local.close();
    }
    if (!hasBegun) return outcome;
    const executionTimeMs = Math.round(performance.now() - startedMs);
    const { totals, rows } = this.#report;
    this.#lines.sumUp(totals, this.#plan, executionTimeMs);
    transfers.report({ totals, rows });
    return { ...outcome, executionTimeMs, ...(this.#carrier === undefined ? {} : { ssh: this.#carrier }) };
  }

  async #push(): Promise<void> {
    const { localPath, remotePath, createDirectories } = this.#plan;
    const { parent, name } = await this.#local.locate(localPath, { write: false, create: false });
    try {
      const entry = name === undefined ? undefined : await parent.look(name);
      if (entry === undefined) throw fileError({ code: 'ENOENT' }, 'on the agent', localPath, 'found');
      const intoDirectory = remotePath.endsWith('/') && entry.kind !== 'directory';
      const final = remotePathOf(intoDirectory ? `${remotePath}${entry.name}` : remotePath);
      const directory = final.slice(0, final.lastIndexOf('/')) || '/';
      if (createDirectories) await this.#script(`mkdir -p -- ${quote(directory)}`, directory, 'created');
      // What a directory that is there hands on, as its group, goes to what is new in it.
      const isThere =
        entry.kind !== 'file' &&
        (await this.#script(isDirectory(final), final, 'looked at')).includes(thereIs);
      const room = `${isThere ? final : directory}/${temporaryName(undefined)}`;
      const temporary = `${room}/new`;
      try {
        // Open to its user alone: what comes has the permissions that it is to have in its place, where others may not get to it.
        await this.#script(makeRoom(room), directory, 'written to');
        await this.#scp(`scp -rpt -- ${quote(temporary)}`, async (channel) => {
          await channel.answer(directory, 'written to');
          const { signal } = this.#context;
          const upload = {
            channel,
            plan: this.#plan,
            report: this.#report,
            signal,
            moved: (bytes: number) => this.#meter.moved(bytes),
          };
          await sendEntry(upload, parent, entry, 'new');
        });
        const { fileMode, preservePermissions } = this.#plan;
        const keepsModes = fileMode === undefined && !preservePermissions;
        const script = placeScript({ room, from: temporary, to: final }, keepsModes);
        await this.#script(script, remotePath, 'put in its place');
      } catch (error) {
        // Also of a step that was stopped, whose own signal would let nothing be done any more.
        const signal = AbortSignal.timeout(cleanUpMs);
        await this.#script(`room=${absolute(room)}; ${removeRoom}`, room, 'removed', signal).catch(
          () => undefined,
        );
        throw error;
      }
    } finally {
      await parent.close();
    }
  }

  async #pull(): Promise<void> {
    const { localPath, remotePath } = this.#plan;
    const fileName = partsOf(remotePath).pop() ?? '';
    await this.#scp(`scp -rpf -- ${quote(remotePathOf(remotePath))}`, (channel) => {
      const { signal } = this.#context;
      const moved = (bytes: number) => this.#meter.moved(bytes);
      const download = { channel, plan: this.#plan, report: this.#report, signal, moved };
      return takeEntry(download, remotePath, async (kind) => {
        const name = kind === 'C' ? fileName : undefined;
        const { to, toName } = await findDestination(this.#local, localPath, name, this.#plan);
        return { parent: to, name: toName };
      });
    });
  }

  /** Runs an scp on the target, and talks to it. The shell says the first word: from then on it reads no more of what is sent. */
  async #scp(command: string, talk: (channel: ScpChannel) => Promise<void>): Promise<void> {
    const { signal, target } = this.#context;
    const lease = await this.#shell();
    const channel = new ScpChannel(lease.channel, target.host);
    const onAbort = () => channel.stop();
    signal.addEventListener('abort', onAbort);
    try {
      signal.throwIfAborted();
      await channel.send(`printf x; exec ${command}\n`);
      await channel.exactly(1);
      await talk(channel);
    } finally {
      signal.removeEventListener('abort', onAbort);
      lease.channel.close();
      lease.release();
    }
  }

  async #script(
    script: string,
    path: string,
    doing: string,
    signal: AbortSignal = this.#context.signal,
  ): Promise<string> {
    const lease = await this.#shell(signal);
    try {
      const { code, text } = await endOf(lease.channel, `{ ${script}\n} 2>&1\n`, signal);
      if (code === 0) return text;
      if (code === undefined) throw cut(this.#context.target.host);
      throw new ScpChannel(lease.channel, this.#context.target.host).refusal(text, path, doing);
    } finally {
      lease.channel.close();
      lease.release();
    }
  }

  async #shell(signal: AbortSignal = this.#context.signal): Promise<Lease<ClientChannel>> {
    const { target, credential, become } = this.#context;
    const checkAddresses = (found: readonly string[]) => this.#context.checkAddresses(found);
    const lease = await this.#deps.pool.open({ target, credential, checkAddresses, signal }, (connection) =>
      startShell(connection, become, 'exec /bin/sh'),
    );
    this.#carrier = sshContext(lease);
    return lease;
  }
}

/**
 * Gives what has arrived the permissions of the file whose place it takes, as POSIX has them told: not every target has `stat`,
 * and `chmod` takes those of another file on few. In bytes, as a name may be no text in the target's locale; and only where they
 * differ, as some file systems have no permissions to be changed.
 */
const takeOver = [
  "permissions() { LC_ALL=C ls -ldn -- \"$1\" | LC_ALL=C sed -n '1s/^-\\(...\\)\\(...\\)\\(...\\).*/u=\\1,g=\\2,o=\\3/p' | sed 's/s/xs/g; s/S/s/g; s/t/xt/g; s/T/t/g; s/-//g'; }",
  'like() { [ -f "$2" ] && [ ! -h "$2" ] || return 0; m=$(permissions "$2"); [ -z "$m" ] || [ "$m" = "$(permissions "$1")" ] || chmod "$m" "$1"; }',
].join('; ');

/**
 * The umask says nothing where the directory hands on an ACL. What says permissions, `mkdir -m` on some targets and `chmod` everywhere,
 * takes away the bit that hands on a group which the user is not in.
 */
function makeRoom(room: string): string {
  const quoted = quote(room);
  const isClosed = `case $(LC_ALL=C ls -ldn -- ${quoted}) in drwx--[-S]---*) ;; *) chmod go-rwx -- ${quoted};; esac`;
  return `umask 077; mkdir -- ${quoted} && ${isClosed}`;
}

/** No word that a target's start-up files would print. */
const thereIs = 'opsconductor-there-is-one';

/** Says so where it is one, and no link to one. */
function isDirectory(path: string): string {
  const quoted = quote(path);
  return `if [ -d ${quoted} ] && [ ! -h ${quoted} ]; then echo ${thereIs}; fi`;
}

/** A directory moves to another only where it may be written itself, as its `..` changes. */
const move =
  'move() { if [ -d "$1" ] && [ ! -h "$1" ] && [ ! -w "$1" ]; then chmod u+w -- "$1" && mv -- "$1" "$2" && chmod u-w -- "$2"; else mv -f -- "$1" "$2"; fi; }';

/**
 * Puts what has arrived in its place: a file over a file, a directory's files over those of one that is there. A directory that
 * is not there yet comes whole, with its permissions and times.
 */
function placeScript(paths: { room: string; from: string; to: string }, keepsModes: boolean): string {
  const [from, to] = ['"$from"', '"$to"'];
  const prepare = `${keepsModes ? takeOver : 'like() { :; }'}; ${move}`;
  // What is left of the others is moved out of them.
  const moveNew = `${move}; if [ -e "$1/$2" ] || [ -h "$1/$2" ]; then [ -w "$2" ] || chmod u+w -- "$2"; exit 1; fi; move "$2" "$1/$2"`;
  const areThere =
    'to=$1; shift; for d; do [ -d "$to/$d" ] || { echo "$to/$d: not a directory"; exit 1; }; done';
  const each = `${prepare}; to=$1; shift; for f; do like "$f" "$to/$f" && move "$f" "$to/$f" || exit 1; done`;
  return [
    `room=${absolute(paths.room)} from=${absolute(paths.from)} to=${absolute(paths.to)}`,
    prepare,
    `if [ ! -d ${from} ]; then`,
    `if [ -d ${to} ]; then echo 'is a directory'; exit 1; fi`,
    `like ${from} ${to} && move ${from} ${to} || exit 1`,
    `elif [ ! -e ${to} ] && [ ! -h ${to} ]; then move ${from} ${to} || exit 1`,
    `elif [ -h ${to} ] || [ ! -d ${to} ]; then echo 'not a directory'; exit 1`,
    `else cd -- ${from} && { [ -w . ] || chmod u+w .; } && find . ! -name . -type d -exec sh -c ${quote(moveNew)} sh ${to} {} \\; -prune &&`,
    `find . -type d -exec sh -c ${quote(areThere)} sh ${to} {} + &&`,
    `find . ! -type d -exec sh -c ${quote(each)} sh ${to} {} + || exit 1`,
    'fi',
    removeRoom,
  ].join('\n');
}

/** Also where what it holds may not be written by its own user. */
const removeRoom = 'cd / && { [ ! -d "$room" ] || chmod -R u+rwx -- "$room"; rm -rf -- "$room"; }';

/** As a word of a script that goes elsewhere: from where the script begins. */
function absolute(path: string): string {
  return path.startsWith('/') ? quote(path) : `"$PWD"/${quote(path)}`;
}

/** A path as a command there takes it: `~/` is where a session begins. */
function remotePathOf(path: string): string {
  const plain = partsOf(path.replace(/^~\//, '/')).join('/');
  return path.startsWith('~/') ? `./${plain}` : `/${plain}`;
}

/** Rejects when the signal says so, whether or not the target answers. */
function endOf(
  channel: ClientChannel,
  script: string,
  signal: AbortSignal,
): Promise<{ code: number | undefined; text: string }> {
  return new Promise((resolve, reject) => {
    let text = '';
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) onAbort();
    channel.on('data', (bytes: Buffer) => {
      if (text.length < 4_096) text += bytes.toString('utf8');
    });
    channel.stderr.resume();
    channel.on('error', () => undefined);
    channel.once('close', (code: number | null | undefined) => {
      signal.removeEventListener('abort', onAbort);
      resolve({ code: code ?? undefined, text });
    });
    channel.end(bytesOf(script));
  });
}

function cut(host: string): TransferError {
  return new TransferError({
    reason: 'transfer_cut',
    message: `The connection to ${host} was lost during the transfer.`,
    advice: 'Look at the network between agent and target, and run the step again: no file is there half.',
    retryable: true,
  });
}
