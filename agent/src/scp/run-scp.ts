// Copies with the SCP protocol, for targets without SFTP. The target needs a shell and scp.
import type { StepOutcome } from '@opsconductor/protocol';
import type { ClientChannel } from 'ssh2';
import { cleanUpLimit, cleanUpMs } from '../sftp/clean-up-limit.ts';
import { findDestination } from '../sftp/find-ends.ts';
import { LocalTree } from '../sftp/local/local-tree.ts';
import { ProgressMeter } from '../sftp/report/progress-meter.ts';
import { TransferLines } from '../sftp/report/transfer-lines.ts';
import { endOutcome, failureOutcome } from '../sftp/report/transfer-outcomes.ts';
import { TransferReport } from '../sftp/report/transfer-report.ts';
import { retireIfDenied, type TransferDeps } from '../sftp/run-transfer.ts';
import type { TransferPlan } from '../sftp/transfer-plan.ts';
import { bytesOf } from '../sftp/tree/name-bytes.ts';
import { partsOf } from '../sftp/tree/safe-name.ts';
import { temporaryName } from '../sftp/tree/temporary-name.ts';
import { fileError, isCut, TransferError } from '../sftp/tree/transfer-error.ts';
import { startShell } from '../ssh/become/start-as.ts';
import type { PooledChannel } from '../ssh/pool/pool.ts';
import { requestFor } from '../ssh/pool/request-for.ts';
import { quote } from '../ssh/quote.ts';
import { runScript } from '../ssh/run-script.ts';
import { sshContext } from '../ssh/ssh-context.ts';
import type { StepContext } from '../steps/step-type.ts';
import { ScpChannel } from './scp-channel.ts';
import { takeEntry } from './scp-download.ts';
import { sendEntry } from './scp-upload.ts';

/** Transfers what the plan says with scp. Resolves with the outcome, also of a failure. */
export async function runScp(
  deps: TransferDeps,
  plan: TransferPlan,
  context: StepContext,
): Promise<StepOutcome> {
  const outcome = await new ScpCopy(deps, plan, context).run();
  retireIfDenied(deps, context, outcome);
  return outcome;
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
      if (hasBegun && !this.#context.signal.aborted) this.#report.endAll(this.#plan, error);
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
      const asked = intoDirectory ? `${remotePath}${entry.name}` : remotePath;
      const final = remotePathOf(asked);
      const directory = final.slice(0, final.lastIndexOf('/')) || '/';
      const shown = asked.replace(/\/+$/, '');
      const shownDirectory = directory.replace(/^\.(?=\/|$)/, '~');
      if (createDirectories) await this.#script(`mkdir -p -- ${quote(directory)}`, shownDirectory, 'created');
      // If the destination is an existing directory, the temporary one is made in it, so that new files inherit its
      // group.
      const isThere =
        entry.kind !== 'file' &&
        (await this.#script(isDirectory(final), shown, 'looked at')).includes(thereIs);
      const room = `${isThere ? final : directory}/${temporaryName(undefined)}`;
      const temporary = `${room}/new`;
      let wasRefused = false;
      try {
        // Closed to other users: what arrives already has its final permissions, under which others might be able to
        // read it although they can't reach its final place.
        await this.#script(makeRoom(room), shownDirectory, 'written to').catch((error: unknown) => {
          wasRefused = !isCut(error);
          throw error;
        });
        await this.#scp(`scp -rpt -- ${quote(temporary)}`, async (channel) => {
          await channel.answer(shownDirectory, 'written to');
          const { signal } = this.#context;
          const upload = {
            channel,
            plan: this.#plan,
            report: this.#report,
            signal,
            moved: (bytes: number) => this.#meter.moved(bytes),
          };
          await sendEntry(upload, parent, entry, { name: 'new', remotePath: shown, above: [] });
        });
        const { fileMode, preservePermissions } = this.#plan;
        const keepsModes = fileMode === undefined && !preservePermissions;
        const script = placeScript({ room, from: temporary, to: final }, keepsModes);
        await this.#script(script, shown, 'put in its place');
      } catch (error) {
        // Whatever has arrived goes with the temporary directory.
        this.#report.takeBack();
        if (!(await this.#remove(room)) && !wasRefused) this.#lines.left([room]);
        throw error;
      }
    } finally {
      await parent.close();
    }
  }

  /**
   * Removes the temporary directory, over new connections if needed, also of a step that is being stopped. Returns
   * whether it is gone.
   */
  async #remove(room: string): Promise<boolean> {
    const { become, signal } = this.#context;
    const request = requestFor(this.#context);
    const giveUp = cleanUpLimit(signal);
    const times = { scriptTimeoutMs: 5_000, giveUpAfterMs: cleanUpMs, giveUp };
    const reach = { pool: this.#deps.pool, request, become, ...times };
    // The shell of another user begins in the home directory of the one who logs in.
    const toHome = become === undefined ? '' : 'cd 2>/dev/null; ';
    const script = `${toHome}{ room=${absolute(room)}; ${removeRoom}; } >&2 && echo ${isGone}\n`;
    return runScript(reach, bytesOf(script)).then(
      (printed) => printed.includes(isGone),
      () => false,
    );
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

  /**
   * Runs scp on the target and talks to it. Once the shell has printed `x`, it has become scp and reads no more script.
   */
  async #scp(command: string, talk: (channel: ScpChannel) => Promise<void>): Promise<void> {
    const { signal, target } = this.#context;
    const pooled = await this.#shell();
    const channel = new ScpChannel(pooled.channel, target.host);
    const onAbort = () => channel.stop();
    signal.addEventListener('abort', onAbort);
    try {
      signal.throwIfAborted();
      await channel.send(`printf x; exec ${command}\n`);
      await channel.exactly(1);
      await talk(channel);
    } finally {
      signal.removeEventListener('abort', onAbort);
      pooled.channel.close();
      pooled.release();
    }
  }

  async #script(
    script: string,
    path: string,
    doing: string,
    signal: AbortSignal = this.#context.signal,
  ): Promise<string> {
    const pooled = await this.#shell(signal);
    try {
      const { code, text } = await endOf(pooled.channel, `{ ${script}\n} 2>&1\n`, signal);
      if (code === 0) return text;
      if (code === undefined) throw cut(this.#context.target.host);
      throw new ScpChannel(pooled.channel, this.#context.target.host).refusal(text, path, doing);
    } finally {
      pooled.channel.close();
      pooled.release();
    }
  }

  async #shell(signal: AbortSignal = this.#context.signal): Promise<PooledChannel<ClientChannel>> {
    const { become } = this.#context;
    const pooled = await this.#deps.pool.open({ ...requestFor(this.#context), signal }, (connection) =>
      startShell(connection, become, 'exec /bin/sh'),
    );
    this.#carrier = sshContext(pooled);
    return pooled;
  }
}

/**
 * Shell functions that give what has arrived the permissions of the file that it replaces. They use only POSIX tools:
 * not every target has `stat`, and few have a `chmod` that copies another file's permissions. LC_ALL=C, because a name
 * may not be text in the target's locale. They act only if the permissions differ, because some file systems can't
 * change them.
 */
const takeOver = [
  "permissions() { LC_ALL=C ls -ldn -- \"$1\" | LC_ALL=C sed -n '1s/^-\\(...\\)\\(...\\)\\(...\\).*/u=\\1,g=\\2,o=\\3/p' | sed 's/s/xs/g; s/S/s/g; s/t/xt/g; s/T/t/g; s/-//g'; }",
  'like() { [ -f "$2" ] && [ ! -h "$2" ] || return 0; m=$(permissions "$2"); [ -z "$m" ] || [ "$m" = "$(permissions "$1")" ] || chmod "$m" "$1"; }',
].join('; ');

/**
 * Makes the temporary directory. The umask has no effect if the parent has a default ACL, so the permissions are
 * checked. They are only changed if needed, because `chmod` (and `mkdir -m` on some targets) clears the set-group-id
 * bit for a group that the user is not in.
 */
function makeRoom(room: string): string {
  const quoted = quote(room);
  const isClosed = `case $(LC_ALL=C ls -ldn -- ${quoted}) in drwx--[-S]---*) ;; *) chmod go-rwx -- ${quoted};; esac`;
  return `umask 077; mkdir -- ${quoted} && ${isClosed}`;
}

/** Words that a target's startup files won't print. */
const thereIs = 'opsconductor-there-is-one';
const isGone = 'opsconductor-it-is-gone';

/** Returns a script that prints `thereIs` if the path is a directory and not a link to one. */
function isDirectory(path: string): string {
  const quoted = quote(path);
  return `if [ -d ${quoted} ] && [ ! -h ${quoted} ]; then echo ${thereIs}; fi`;
}

/** Moves a file or directory. Moving a directory requires write permission on it, because its `..` changes. */
const move =
  'move() { if [ -d "$1" ] && [ ! -h "$1" ] && [ ! -w "$1" ]; then chmod u+w -- "$1" && mv -- "$1" "$2" && chmod u-w -- "$2"; else mv -f -- "$1" "$2"; fi; }';

/**
 * Returns a script that puts what has arrived in its place: a file over a file, and a directory's files over those of
 * an existing directory. A directory that does not exist yet is moved as a whole, with its permissions and times.
 */
function placeScript(paths: { room: string; from: string; to: string }, keepsModes: boolean): string {
  const [from, to] = ['"$from"', '"$to"'];
  const prepare = `${keepsModes ? takeOver : 'like() { :; }'}; ${move}`;
  // Moves a directory that doesn't exist there yet. Otherwise makes it writable, so that its files can be moved out of
  // it.
  const moveNew = `${move}; if [ -e "$1/$2" ] || [ -h "$1/$2" ]; then [ -w "$2" ] || chmod u+w -- "$2"; exit 1; fi; move "$2" "$1/$2"`;
  const areThere =
    'to=$1; shift; for d; do [ -d "$to/$d" ] || { echo "$to/$d: not a directory"; exit 1; }; done';
  const each = `${prepare}; to=$1; shift; for f; do like "$f" "$to/$f" && move "$f" "$to/$f" || exit 1; done`;
  return [
    `room=${absolute(paths.room)} from=${absolute(paths.from)} to=${absolute(paths.to)}`,
    prepare,
    `if [ ! -d ${from} ]; then`,
    `if [ -d ${to} ]; then echo 'is a directory'; exit 1; fi`,
    `if [ -p ${to} ] || [ -c ${to} ] || [ -b ${to} ]; then [ -h ${to} ] || { echo 'a device or a pipe is there'; exit 1; }; fi`,
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

/** Removes the temporary directory, even if it contains directories that its own user may not write to. */
const removeRoom = 'cd / && { [ ! -d "$room" ] || chmod -R u+rwx -- "$room"; rm -rf -- "$room"; }';

/** Returns the path as a shell word that stays valid when the script changes its directory. */
function absolute(path: string): string {
  return path.startsWith('/') ? quote(path) : `"$PWD"/${quote(path)}`;
}

/** Returns a path for commands on the target; `~/` is dropped because sessions begin in the home directory. */
function remotePathOf(path: string): string {
  const plain = partsOf(path.replace(/^~\//, '/')).join('/');
  return path.startsWith('~/') ? `./${plain}` : `/${plain}`;
}

/** Runs a script on the channel and returns its end. Rejects on abort, whether or not the target answers. */
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
    advice:
      'Look at the network between agent and target, and run the step again: no file has its final name before it is complete.',
    retryable: true,
  });
}
