// Serves agents that ask for files and upload artifacts. An agent may do what the attempt that it runs may do.
// Everything can be asked again after a lost connection, and nothing is then done twice.
import { createHmac, randomUUID } from 'node:crypto';
import { type ContentAnswer, type ContentProblem, type ContentRequest, limits } from '@opsconductor/protocol';
import type { MasterKey } from '../credentials/at-rest/master-key.ts';
import { aadOf, openAtRest, sealAtRest } from '../credentials/at-rest/seal-at-rest.ts';
import { AppError } from '../errors.ts';
import { loadJobVersion } from '../jobs/versions/load-job-version.ts';
import type { Log } from '../log.ts';
import type { RunKeys } from '../runs/run-keys.ts';
import { whyUnreadableHere } from '../runs/why-unreadable.ts';
import type { Sql } from '../store/database/connection.ts';
import { isRefused } from '../store/database/refused-statement.ts';
import { inTransaction } from '../store/database/transaction.ts';
import {
  artifactTotals,
  findBegunArtifact,
  insertArtifact,
  isArtifactOf,
  lockAttempt,
} from '../store/files/artifacts.ts';
import { bytesBeside, findContent, finishContent, lockContent } from '../store/files/contents.ts';
import { findUsableFile, noteFileUse, type UsableFile } from '../store/files/files.ts';
import {
  appendBytes,
  beginContent,
  digestOfContent,
  partsOfSize,
  readPart,
  receivedBytes,
} from './content-pieces.ts';
import { mayNameFile } from './named-file.ts';
import { requireRoom } from './upload-file.ts';

/** An attempt as its agent holds it. */
export interface HeldAttempt {
  runId: number;
  stepId: number;
  epoch: number;
  agentId: number;
  sessionNumber: number;
}

type Ask<T extends ContentRequest['do']> = Extract<ContentRequest, { do: T }>;

export interface AgentContentsDeps {
  sql: Sql;
  masterKey: MasterKey;
  keys: RunKeys;
  maxStoredBytes: number;
  log?: Pick<Log, 'error'>;
}

export class AgentContents {
  readonly #deps: AgentContentsDeps;

  constructor(deps: AgentContentsDeps) {
    this.#deps = deps;
  }

  async answer(attempt: HeldAttempt, request: ContentRequest): Promise<ContentAnswer> {
    try {
      return await this.#answer(attempt, request).catch((error) => {
        if (!isRefused(error)) throw error;
        return this.#answer(attempt, request);
      });
    } catch (error) {
      if (isRefused(error)) {
        // To disconnect the agent would cut off all else that it does, and it would ask again.
        this.#deps.log?.error(
          { err: error, run: attempt.runId, step: attempt.stepId, asked: request.do },
          'the database refuses to store or to give what a step has asked for; the step fails',
        );
        return problem(
          'transfer_failed',
          'The server’s database refuses to store or to give what the step needs.',
          'Look at the log of the server: it has what the database said.',
        );
      }
      // Asking again would give the same result.
      return problem(
        'transfer_failed',
        whyUnreadableHere('The file, or the key of the run,', error),
        'Look into who altered the database, or put back the master key; then upload the file again or start another run.',
      );
    }
  }

  async #answer(attempt: HeldAttempt, request: ContentRequest): Promise<ContentAnswer> {
    switch (request.do) {
      case 'find_file':
        return this.#findFile(attempt, request);
      case 'read_file':
        return this.#readFile(attempt, request);
      case 'open_artifact':
        return this.#openArtifact(attempt, request);
      case 'write_artifact':
        return this.#writeArtifact(attempt, request);
      case 'close_artifact':
        return this.#closeArtifact(attempt, request);
    }
  }

  async #findFile({ stepId }: HeldAttempt, { name }: Ask<'find_file'>): Promise<ContentAnswer> {
    const { sql } = this.#deps;
    const file = await this.#fileOf(stepId, { name });
    if (file === undefined) {
      return problem(
        'path_missing',
        `The server has no file ${JSON.stringify(name)} that this step names and its job may use.`,
        'Look under Files: it must be completely uploaded, and in the category “general”, the job’s category or one above that.',
      );
    }
    const { id, sha256, size } = file;
    await noteFileUse(sql, id).catch((error) => {
      // Whatever refuses the note refuses the removal as unused, too.
      if (!isRefused(error)) throw error;
    });
    return { file: { id, sha256, size } };
  }

  /** The file, if the job may use it and the step names it: an agent gets no other files by having some step. */
  async #fileOf(stepId: number, by: { name: string } | { id: string }): Promise<UsableFile | undefined> {
    const file = await findUsableFile(this.#deps.sql, stepId, by);
    if (file === undefined) return undefined;
    const { stepConfigs } = await loadJobVersion(this.#deps, file.jobId, file.jobVersion);
    return mayNameFile(stepConfigs[file.stepNumber - 1], file.name) ? file : undefined;
  }

  async #readFile({ stepId }: HeldAttempt, { file: id, part }: Ask<'read_file'>): Promise<ContentAnswer> {
    const { sql, masterKey } = this.#deps;
    const file = await this.#fileOf(stepId, { id });
    const content = file === undefined ? undefined : await findContent(sql, id);
    const bytes = content === undefined ? undefined : await readPart(sql, masterKey, content, part);
    if (bytes === undefined)
      return problem('path_missing', 'The file was deleted meanwhile.', 'Upload it again, or name another.');
    return { data: bytes.toString('base64') };
  }

  async #openArtifact(attempt: HeldAttempt, { name, size }: Ask<'open_artifact'>): Promise<ContentAnswer> {
    const { sql, masterKey, keys, maxStoredBytes } = this.#deps;
    const dataKey = await keys.keyOf(sql, attempt.runId);
    const nameDigest = createHmac('sha256', dataKey).update(`artifact/${name}`).digest();
    return inTransaction(sql, async (tx): Promise<ContentAnswer> => {
      if (!(await lockAttempt(tx, attempt, attempt))) return superseded();
      const begun = await findBegunArtifact(tx, attempt, nameDigest);
      const content = begun === undefined ? undefined : await findContent(tx, begun);
      if (content !== undefined) {
        if (content.size === size) return { artifact: { id: content.id, parts: content.parts } };
        return problem(
          'transfer_failed',
          `There is an artifact of this name with ${content.size} bytes, not ${size}.`,
          'Give the downloaded files different names.',
        );
      }
      const { count, bytes } = await artifactTotals(tx, attempt);
      const most = limits.maxArtifactBytesPerAttempt;
      if (count >= limits.maxArtifactsPerAttempt || bytes + size > most) {
        return problem(
          'no_space',
          `A step keeps ${limits.maxArtifactsPerAttempt} artifacts of ${most} bytes in all, at most.`,
          'Leave some out with exclude, or pack them into one file on the target first.',
        );
      }
      try {
        requireRoom(await bytesBeside(tx, { size, most: maxStoredBytes }), size, maxStoredBytes);
      } catch (error) {
        if (!(error instanceof AppError)) throw error;
        return problem('no_space', error.message, 'Ask whoever runs the server.');
      }
      const id = randomUUID();
      const sealed = sealAtRest(dataKey, Buffer.from(name), artifactAad(id));
      await insertArtifact(tx, { ...attempt, id, name: sealed, nameDigest });
      await beginContent(tx, masterKey, { id, owner: 'artifact', size });
      return { artifact: { id, parts: 0 } };
    });
  }

  async #writeArtifact(
    attempt: HeldAttempt,
    { artifact: id, part, data }: Ask<'write_artifact'>,
  ): Promise<ContentAnswer> {
    const { sql, masterKey } = this.#deps;
    const bytes = Buffer.from(data, 'base64');
    return inTransaction(sql, async (tx): Promise<ContentAnswer> => {
      const content = (await isArtifactOf(tx, id, attempt)) ? await lockContent(tx, id) : undefined;
      if (content === undefined) return superseded();
      // The piece was sent again because the answer was lost.
      if (part < content.parts) return { artifact: { id, parts: content.parts } };
      const stands = receivedBytes(content);
      const due = Math.min(limits.contentPartBytes, content.size - stands);
      if (content.sha256 !== null || part > content.parts || bytes.length !== due || due === 0) {
        return problem(
          'transfer_failed',
          `The agent sent piece ${part} with ${bytes.length} bytes; piece ${content.parts} with ${due} was due.`,
          'Update the agent if its version differs from the server’s.',
        );
      }
      await appendBytes(tx, masterKey, content, bytes);
      return { artifact: { id, parts: content.parts + 1 } };
    });
  }

  async #closeArtifact(
    attempt: HeldAttempt,
    { artifact: id, sha256 }: Ask<'close_artifact'>,
  ): Promise<ContentAnswer> {
    const { sql, masterKey } = this.#deps;
    const content = (await isArtifactOf(sql, id, attempt)) ? await findContent(sql, id) : undefined;
    if (content === undefined) return superseded();
    const isWhole = content.parts === partsOfSize(content.size);
    const found = content.sha256 ?? (isWhole ? await digestOfContent(sql, masterKey, content) : undefined);
    if (found !== sha256) {
      return problem(
        'checksum_mismatch',
        'The artifact has arrived with another SHA-256 than it was sent with, and is not kept.',
        'Look at disk and memory of the agent and of the database.',
      );
    }
    await inTransaction(sql, (tx) => finishContent(tx, id, found));
    return { artifact: { id, parts: content.parts } };
  }
}

/** Returns the name of an artifact. */
export function openArtifactName(dataKey: Buffer, id: string, sealed: Buffer): string {
  return openAtRest(dataKey, sealed, artifactAad(id)).toString('utf8');
}

function artifactAad(id: string): Uint8Array {
  return aadOf('run_artifacts', id);
}

function problem(reason: ContentProblem, message: string, advice: string): ContentAnswer {
  return { problem: { reason, message: message.slice(0, 1_000), advice } };
}

function superseded(): ContentAnswer {
  return problem(
    'transfer_failed',
    'This attempt has ended for the server, which keeps nothing more from it.',
    'Look at the attempt that came after it.',
  );
}
