// Where an agent keeps what must survive: who it is, whom it trusts, its keys, its journal and its spool.
import { chmod, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentError } from '../agent-error.ts';
import { sparePaths } from '../spool/spare-files.ts';
import { makePrivateFolder, removeUnfinished } from './durable-file.ts';

export interface DataDirectory {
  readonly root: string;
  /** Written last at enrollment: if it exists, the agent is enrolled. */
  readonly identity: string;
  /** An enrollment that was begun and not finished. */
  readonly pendingEnrollment: string;
  readonly ca: string;
  readonly signingKey: string;
  readonly encryptionKey: string;
  /** Keys that are going to replace the two above. */
  readonly nextKeys: string;
  readonly generation: string;
  readonly roster: string;
  /** The newest checkpoint of the server's audit log. */
  readonly auditCheckpoint: string;
  readonly segmentKeys: string;
  readonly journal: string;
  readonly spool: string;
  /** An empty file that will become the next spool file. */
  readonly spareSpool: string;
  /** The server's files that steps have used. */
  readonly files: string;
  /** What steps have downloaded for the server, until the server has it. */
  readonly artifacts: string;
  readonly lock: string;
  /** Exists while the server does not let this agent in. */
  readonly serverRefusal: string;
  /** What this machine's policy has refused. It is kept when the identity is given up. */
  readonly policyRefusals: string;
}

/** Returns the paths of the files in an agent's data directory. */
export function dataDirectory(root: string): DataDirectory {
  const at = (name: string) => join(root, name);
  return {
    root,
    identity: at('identity.json'),
    pendingEnrollment: at('enrollment.json'),
    ca: at('ca.pem'),
    signingKey: at('signing.key'),
    encryptionKey: at('encryption.key'),
    nextKeys: at('next.keys'),
    generation: at('generation.json'),
    roster: at('roster.json'),
    auditCheckpoint: at('audit-checkpoint.json'),
    segmentKeys: at('segment-keys'),
    journal: at('journal'),
    spool: at('spool'),
    spareSpool: at('spool.spare'),
    files: at('files'),
    artifacts: at('artifacts'),
    lock: at('lock'),
    serverRefusal: at('server-refusal.json'),
    policyRefusals: at('policy-refusals.jsonl'),
  };
}

/** Far longer than it takes to make keys. */
const makingKeysMs = 3_600_000;

/** Creates the folders, and removes other users' access to them. */
export async function prepareDataDirectory(data: DataDirectory): Promise<void> {
  try {
    for (const folder of [data.root, data.segmentKeys, data.spool]) {
      await makePrivateFolder(folder);
      if (process.platform !== 'win32' && ((await stat(folder)).mode & 0o077) !== 0) {
        await chmod(folder, 0o700);
      }
    }
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new AgentError(
      `The data directory ${data.root} can't be used: ${why}.`,
      'Name a directory this user may write with --data, or correct its owner.',
      { cause },
    );
  }
}

/**
 * Removes what an earlier process of this agent did not finish writing. Called by the agent that has locked the
 * directory: the others that begin with the name of a file there may be written by another process now.
 */
export async function removeUnfinishedFiles(data: DataDirectory): Promise<void> {
  const { signingKey, encryptionKey, generation, roster, auditCheckpoint, journal, serverRefusal } = data;
  const own = new Set([
    signingKey,
    encryptionKey,
    generation,
    roster,
    auditCheckpoint,
    journal,
    serverRefusal,
  ]);
  await removeUnfinished(data.root, (name) => own.has(join(data.root, name)));
  await removeUnfinished(data.segmentKeys, () => true);
  // Another process may be making new keys now. What is old is a second name of keys that are in use, or were.
  await removeUnfinished(data.root, (name) => join(data.root, name) === data.nextKeys, makingKeysMs);
}

/** Removes an identity and everything that belongs to it. Other files that a person put there stay. */
export async function removeIdentity(data: DataDirectory): Promise<void> {
  // The identity goes first: a crash in between leaves an agent that is not enrolled, not one with half its keys.
  const { identity, pendingEnrollment, ca, signingKey, encryptionKey, generation, roster } = data;
  const files = [identity, pendingEnrollment, ca, signingKey, encryptionKey, generation, roster];
  const own = [data.nextKeys, data.auditCheckpoint, data.serverRefusal, ...sparePaths(data.spareSpool)];
  for (const path of [...files, ...own]) {
    await rm(path, { force: true });
  }
  for (const path of [data.segmentKeys, data.journal, data.spool, data.files, data.artifacts]) {
    await rm(path, { force: true, recursive: true });
  }
}
