// Signs what a server says a run would do, after the signer has seen it.
import { lstat, writeFile } from 'node:fs/promises';
import { limits } from '@opsconductor/protocol';
import { type GrantDraft, GrantDraftSchema, signGrant } from '@opsconductor/protocol/grants';
import { SealingError } from '@opsconductor/protocol/sealing';
import { Type } from 'typebox';
import { Check } from 'typebox/value';
import { AgentError } from '../../agent-error.ts';
import { readGivenText } from '../../command-line/read-given-text.ts';
import { parseJson } from '../../identity/identity.ts';
import { openKeyFile } from '../keys/key-file.ts';
import { describeGrant } from './describe-grant.ts';

/**
 * A signer's clock may be ahead of the agents' clocks. The slack counts as part of the hours, because agents limit
 * those.
 */
const clockSlackMs = 300_000;
const hourMs = 3_600_000;

export interface SignRun {
  key: string;
  /** What `POST jobs/:id/grant-draft` returned; `-` for standard input. */
  draft: string;
  /** Where to write the request that starts the run. */
  out: string;
  hours: number;
  passphrase(): Promise<string>;
  /** Asks whether to sign what was shown. */
  confirm(): Promise<boolean>;
  say(line: string): void;
  now?: () => Date;
}

/** @throws {AgentError} */
export async function signRun(options: SignRun): Promise<void> {
  const { say, now = () => new Date() } = options;
  await refuseTaken(options.out);
  const draft = await readDraft(options.draft);
  const from = now().getTime() - clockSlackMs;
  const [notBefore, expiresAt] = [new Date(from), new Date(from + options.hours * hourMs)];
  for (const line of describeGrant(draft, { from: notBefore, until: expiresAt })) say(line);
  if (!(await options.confirm())) {
    throw new AgentError('Nothing was signed.', 'Answer “yes” to sign what is shown.');
  }
  const { privateKey } = await openKeyFile(options.key, 'signer', options.passphrase);
  try {
    const grant = await signGrant(draft, { privateKey, class: 'cli', notBefore, expiresAt });
    const request = `${JSON.stringify({ ...Object(draft.request), grant })}\n`;
    refuseTooLarge(Buffer.byteLength(request));
    await writeFile(options.out, request, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    throw notSigned(error, options);
  } finally {
    privateKey.fill(0);
  }
  say('');
  say(
    `Signed. ${options.out} starts the run: POST it to /api/v1/jobs/${draft.job.id}/run, or choose it in the console.`,
  );
}

/** What has to be in a draft so that it can be shown, whatever else it contains. */
const ShownSchema = Type.Object({
  definition: Type.Object({
    name: Type.String(),
    steps: Type.Array(Type.Object({ name: Type.String(), type: Type.String() }), { minItems: 1 }),
  }),
  targets: Type.Array(Type.Unknown(), { minItems: 1 }),
});

/** Checked before the person does anything. The file may be a key. */
async function refuseTaken(out: string): Promise<void> {
  const found = await lstat(out).catch(() => undefined);
  if (found === undefined) return;
  throw new AgentError(`${out} already exists.`, 'Name a new file with --out: none is overwritten.');
}

async function readDraft(source: string): Promise<GrantDraft> {
  const content = await readGivenText(source === '-' ? process.stdin : source).catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new AgentError(`The draft can't be read: ${why}.`, 'Check the path.', { cause });
  });
  const draft = parseJson(content);
  if (Check(GrantDraftSchema, draft) && Check(ShownSchema, draft)) return draft;
  throw new AgentError(
    `${source === '-' ? 'Standard input' : source} is not the draft of a run.`,
    'Take it from the console’s dialog for a run, or from POST /api/v1/jobs/:id/grant-draft.',
  );
}

function refuseTooLarge(bytes: number): void {
  if (bytes <= limits.maxSignedRunBytes) return;
  throw new AgentError(
    `The signed request has ${bytes} bytes; a server accepts at most ${limits.maxSignedRunBytes}.`,
    'Start several runs, each on some of the targets.',
  );
}

function notSigned(error: unknown, { out }: SignRun): unknown {
  if (error instanceof SealingError) {
    return new AgentError(
      `This can not be signed: ${error.message}.`,
      'Ask the server for the draft again. If it is the same, somebody has altered it.',
      { cause: error },
    );
  }
  if (error instanceof Error && 'code' in error) {
    return new AgentError(`${out} can't be written: ${error.message}.`, 'Name a path that you may write.', {
      cause: error,
    });
  }
  return error;
}
