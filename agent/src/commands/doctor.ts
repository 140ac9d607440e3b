// Checks everything an agent needs, one thing after another, and says what to fix.
import { once } from 'node:events';
import { rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readCheckpoint } from '@opsconductor/protocol/audit';
import { decodeBase64, fingerprint } from '@opsconductor/protocol/sealing';
import { AgentError } from '../agent-error.ts';
import { readAuditCheckpoint } from '../audit-checkpoint.ts';
import { agentCommand } from '../command-line/typed-command.ts';
import { socketOpener } from '../connection/open-socket.ts';
import { bareHost, type ProxySettings, proxyFor } from '../connection/proxy.ts';
import { explainRefusal, readRefusal } from '../connection/server-refusal.ts';
import { requestJson } from '../enrollment/request-json.ts';
import { explainFileError, explainReachError } from '../explain-error.ts';
import { readGeneration } from '../identity/connect-generation.ts';
import { type DataDirectory, dataDirectory } from '../identity/data-directory.ts';
import { lockHolder } from '../identity/directory-lock.ts';
import { readIfExists } from '../identity/durable-file.ts';
import { fingerprintOf, type Identity, readIdentity, readPublicIdentity } from '../identity/identity.ts';
import { replay } from '../journal/replay.ts';
import { readRefusals } from '../policy/refusal-log.ts';
import { describeClockSkew } from '../timing/clock-skew.ts';

export interface Finding {
  ok: boolean;
  what: string;
  /** What to do about it; undefined if all is well. */
  fix?: string;
}

/** Checks in the order in which they depend on each other; later checks are left out if they can't be made. */
export async function* examine(dataDir: string, proxy: ProxySettings): AsyncGenerator<Finding> {
  const data = dataDirectory(dataDir);
  const identity = yield* finding(
    () => readIdentity(data),
    (found) => `enrolled at ${found.server} as agent ${found.agentName} of segment ${found.segmentName}`,
  );
  if (identity === undefined) return;
  yield* finding(
    () => checkPrivate(data),
    () => `${dataDir} is readable only by its owner`,
  );
  yield* finding(
    () => checkWritable(data),
    () => `${dataDir} can be written`,
  );
  yield* finding(
    () => readGeneration(data.generation),
    ({ generation }) => `connected ${generation === 1 ? 'once' : `${generation} times`} so far`,
  );
  yield* finding(
    () => checkJournal(data),
    (open) => `journal is sound, ${attempts(open)} not settled`,
  );
  yield* checkServer(identity, proxy);
  const refusal = await readRefusal(data.serverRefusal);
  if (refusal !== undefined) yield { ok: false, ...explainRefusal(refusal) };
}

export interface Status {
  state: 'running' | 'stopped' | 'notEnrolled';
  /** What the agent is and does. */
  lines: string[];
}

export async function describeStatus(dataDir: string): Promise<Status> {
  const data = dataDirectory(dataDir);
  const identity = await readPublicIdentity(data);
  if (identity === undefined) {
    const line = `Not enrolled: ${data.identity} does not exist. Run "${agentCommand()} enroll", or name the right directory with --data.`;
    return { state: 'notEnrolled', lines: [line] };
  }
  const holder = await lockHolder(data.lock);
  const journal = await readIfExists(data.journal);
  const lines = [
    `agent      ${identity.agentName} (id ${identity.agentId})`,
    `segment    ${identity.segmentName} (id ${identity.segmentId})`,
    `server     ${identity.server}`,
    `enrolled   ${identity.enrolledAt}`,
    `keys       ${await fingerprintOf(data)}`,
    `running    ${holder === undefined ? 'no' : `yes, process ${holder}`}`,
    `open       ${attempts(journal === undefined ? 0 : replay(journal).attempts.size)}`,
    `server key ${identity.serverKey} (${await fingerprint(decodeBase64(identity.serverKey))})`,
    ...(await describeAuditCheckpoint(data)),
    ...(await describeRefusals(data)),
  ];
  return { state: holder === undefined ? 'stopped' : 'running', lines };
}

function attempts(count: number): string {
  return count === 1 ? '1 attempt' : `${count} attempts`;
}

/** Describes what its policy has refused, if anything. */
async function describeRefusals({ policyRefusals }: DataDirectory): Promise<string[]> {
  const refusals = await readRefusals(policyRefusals);
  if (refusals === undefined) return [];
  return [`refused    ${refusals.count} by the policy, in ${policyRefusals}; the last: ${refusals.last}`];
}

/** Describes what this agent knows of the server's audit log, for `audit verify` on another machine. */
async function describeAuditCheckpoint(data: DataDirectory): Promise<string[]> {
  try {
    const file = await readAuditCheckpoint(data.auditCheckpoint);
    if (file === undefined) return ['audit log  no checkpoint seen yet'];
    const { number, size, sealedAt } = readCheckpoint(file.note);
    const lines = [`audit log  checkpoint ${number}, ${size} rows, sealed ${sealedAt}`];
    if (file.refused !== undefined)
      lines.push(
        `           REFUSED another one (${file.refused.reason}) at ${file.refused.at}: the log was cut off, rolled back or rewritten`,
      );
    return [...lines, `           ${data.auditCheckpoint}`];
  } catch (error) {
    return [`audit log  ${error instanceof Error ? error.message : String(error)}`];
  }
}

async function* finding<T>(
  check: () => Promise<T>,
  describe: (found: T) => string,
): AsyncGenerator<Finding, T | undefined> {
  try {
    const found = await check();
    yield { ok: true, what: describe(found) };
    return found;
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    yield { ok: false, what: error.message, fix: error.fix };
    return undefined;
  }
}

async function checkPrivate(data: DataDirectory): Promise<void> {
  if (process.platform === 'win32') return;
  for (const path of [data.root, data.signingKey, data.encryptionKey]) {
    const { mode } = await stat(path);
    if ((mode & 0o077) === 0) continue;
    const right = path === data.root ? '700' : '600';
    throw new AgentError(`${path} is open to other users.`, `Run: chmod ${right} ${path}`);
  }
}

/** As much as a disk without room may still take in its last block. */
const probeBytes = 64 * 1024;

async function checkWritable({ root }: DataDirectory): Promise<void> {
  const probe = join(root, `doctor-${process.pid}.tmp`);
  try {
    await writeFile(probe, Buffer.alloc(probeBytes), { flush: true });
  } catch (error) {
    const { message, fix } = explainFileError(error) ?? {};
    if (message === undefined || fix === undefined) throw error;
    throw new AgentError(`${root} can’t be written: ${message}`, fix, { cause: error });
  } finally {
    await rm(probe, { force: true }).catch(() => {});
  }
}

async function checkJournal(data: DataDirectory): Promise<number> {
  const content = await readIfExists(data.journal);
  if (content === undefined) return 0;
  const { attempts, intact } = replay(content);
  if (intact) return attempts.size;
  throw new AgentError(
    `${data.journal} is damaged.`,
    'Nothing needs to be done: the agent sets it aside and tells the server, which shows those steps as unknown. Check the disk.',
  );
}

/** A proxy may let requests through and WebSockets not. Nothing is said over this one. */
async function checkWebSocket({ server, ca }: Identity, proxy: ProxySettings): Promise<void> {
  const socket = socketOpener({ server, ca, proxy })();
  try {
    await once(socket, 'open');
  } catch (error) {
    throw explainReachError(error, server, proxy);
  } finally {
    socket.on('error', () => {});
    socket.terminate();
  }
}

async function* checkServer(identity: Identity, proxy: ProxySettings): AsyncGenerator<Finding> {
  const { server, ca } = identity;
  const url = new URL(server);
  const through = proxyFor(url, proxy);
  const way = () => (through === undefined ? 'directly' : `through proxy ${new URL(through).host}`);
  const reply = yield* finding(
    () =>
      requestJson({ server, ca, proxy }, '/healthz').catch((error: unknown) => {
        throw explainReachError(error, server, proxy);
      }),
    () =>
      `${bareHost(url)} answers ${way()}${ca === undefined ? '' : ', with a certificate of the pinned CA'}`,
  );
  if (reply?.serverTimeMs === undefined) return;
  yield* finding(
    () => checkWebSocket(identity, proxy),
    () => 'WebSockets get through',
  );
  // The header counts whole seconds and says when the reply was made.
  const skewMs = Date.now() - reply.serverTimeMs;
  const skew = describeClockSkew(skewMs);
  if (skew === undefined) {
    yield { ok: true, what: `clocks agree within ${Math.abs(Math.round(skewMs / 1_000)) + 1} s` };
  } else {
    yield {
      ok: false,
      what: `this machine's clock is ${skew} the server's.`,
      fix: 'Correct the wrong one, and keep both in sync with NTP.',
    };
  }
}
