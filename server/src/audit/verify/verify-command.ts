// `audit verify`: reads a database or an export, and says what is proven, what is wrong, and what can't be known.
import { join } from 'node:path';
import { decodeBase64, fingerprint, publicKeyBytes, SealingError } from '@opsconductor/protocol/sealing';
import { Command, CommanderError } from 'commander';
import { readDatabaseUrl } from '../../config/read-database-url.ts';
import { SettingReader } from '../../config/setting-reader.ts';
import { startExistingPostgres } from '../../database/existing-database.ts';
import { refuseMoved } from '../../database/move/moved-mark.ts';
import { connect, type Sql } from '../../store/database/connection.ts';
import { databaseRefusal } from '../../store/database/database-refusal.ts';
import { hasSchema, readInstallation } from '../../store/installation/installation.ts';
import { readNotes } from '../checkpoints/checkpoint-notes.ts';
import type { LogVerifier } from './log-verifier.ts';
import { type VerifyOptions, verifyDatabase } from './verify-database.ts';
import { readExportHead, verifyExport } from './verify-export.ts';
import { describeVerification, type Verification } from './verify-report.ts';

/** 0: everything holds. */
export const exitCodes = { holds: 0, findings: 1, wrongUse: 2, notVerified: 3 } as const;

interface Flags {
  export?: string;
  data?: string;
  checkpoint: string[];
  publicKey?: string;
  json: boolean;
}

export interface CommandContext {
  /** `DATABASE_URL`. It contains a password, so it is not an argument. */
  databaseUrl: string | undefined;
  write(text: string): void;
}

/** Runs the command; returns its exit code. */
export async function runAuditCommand(argv: readonly string[], context: CommandContext): Promise<number> {
  let code: number = exitCodes.holds;
  const program = new Command('npm run audit --')
    .description('The sealed audit log.')
    .showHelpAfterError('(--help shows the usage)')
    .exitOverride();
  program.configureOutput({ writeOut: context.write, writeErr: context.write });
  program
    .command('verify')
    .description('check every row against the signed checkpoints')
    .addHelpText(
      'after',
      `
Reads the database of DATABASE_URL, the embedded one of --data (while no server runs), or an export.
Exit codes: 0 all holds, 1 something does not, 2 wrong use, 3 it could not be verified.`,
    )
    .option('--export <file>', 'an export, from GET /api/v1/audit/export')
    .option('--data <folder>', 'the data folder (--data) of a stopped server with an embedded database')
    .option(
      '--checkpoint <file>',
      'checkpoints that were kept elsewhere: the audit-checkpoint.json of an agent, or the file of a server’s --audit-checkpoints; may be repeated',
      (file: string, files: string[]) => [...files, file],
      [],
    )
    .option('--public-key <base64>', 'the installation’s key, as an agent knows it (`node agent.mjs status`)')
    .option('--json', 'print the result as JSON', false)
    .action(async (flags: Flags) => {
      code = await verify(flags, context);
    });
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.holds : exitCodes.wrongUse;
    context.write(
      `The audit log could not be verified: ${error instanceof Error ? error.message : String(error)}\n`,
    );
    return exitCodes.notVerified;
  }
}

async function verify(flags: Flags, context: CommandContext): Promise<number> {
  const given = [flags.export, flags.data, context.databaseUrl].filter((source) => source !== undefined);
  if (given.length === 0 || (flags.export !== undefined && flags.data !== undefined)) {
    context.write(
      'Say what to verify: set DATABASE_URL in the environment, or give either --data or --export (--help explains them).\n',
    );
    return exitCodes.wrongUse;
  }
  if (flags.export === undefined && flags.data === undefined) {
    const problems: string[] = [];
    readDatabaseUrl(new SettingReader({ DATABASE_URL: context.databaseUrl }, problems));
    if (problems.length > 0) {
      context.write(problems.map((problem) => `${problem}\n`).join(''));
      return exitCodes.wrongUse;
    }
  }
  let publicKey: Uint8Array | undefined;
  try {
    publicKey =
      flags.publicKey === undefined
        ? undefined
        : decodeBase64(flags.publicKey, publicKeyBytes, '--public-key');
  } catch (error) {
    if (!(error instanceof SealingError)) throw error;
    context.write(`${error.message}. Copy the whole key, as “node agent.mjs status” shows it.\n`);
    return exitCodes.wrongUse;
  }
  const notes: { file: string; note: string }[] = [];
  for (const file of flags.checkpoint) for (const note of await readNotes(file)) notes.push({ file, note });
  const result = await verifySource(flags, context, { publicKey, notes });
  context.write(flags.json ? `${JSON.stringify(result, null, 2)}\n` : describeVerification(result));
  return result.findings.length === 0 ? exitCodes.holds : exitCodes.findings;
}

type Given = { publicKey: Uint8Array | undefined; notes: VerifyOptions['notes'] };

async function verifySource(flags: Flags, context: CommandContext, given: Given): Promise<Verification> {
  if (flags.export !== undefined) {
    const head = await readExportHead(flags.export);
    const installation = { id: head.installationId, serverKey: Buffer.from(head.publicKey, 'base64') };
    const options = optionsOf(installation, given);
    return verificationOf(await verifyExport(flags.export, options), options, given, head.kind);
  }
  if (flags.data === undefined) {
    const url = context.databaseUrl ?? '';
    return verifyUrl(url, given).catch((error: unknown) => {
      throw databaseRefusal(error, url);
    });
  }
  const dataDir = join(flags.data, 'postgres');
  // Its log ends where it was moved, and would be found sound for ever.
  await refuseMoved(dataDir);
  const embedded = await startExistingPostgres({
    dataDir,
    log: () => {},
    otherwise: 'Stop it first, or verify what it exports at /api/v1/audit/export, with --export.',
  });
  try {
    return await verifyUrl(embedded.url, given);
  } finally {
    await embedded.stop();
  }
}

async function verifyUrl(url: string, given: Given): Promise<Verification> {
  const sql: Sql = connect(url, { max: 2 });
  try {
    const installation = (await hasSchema(sql)) ? await readInstallation(sql) : undefined;
    if (installation === undefined)
      throw new Error('this database has no installation; check DATABASE_URL or --data');
    const options = optionsOf(installation, given);
    return await verificationOf(await verifyDatabase(sql, options), options, given, 'database');
  } finally {
    await sql.end({ timeout: 2 });
  }
}

function optionsOf(installation: { id: string; serverKey: Uint8Array }, given: Given): VerifyOptions {
  return {
    installationId: installation.id,
    publicKey: given.publicKey ?? new Uint8Array(installation.serverKey),
    notes: given.notes,
  };
}

async function verificationOf(
  verifier: LogVerifier,
  options: VerifyOptions,
  given: Given,
  source: Verification['source'],
): Promise<Verification> {
  const { last } = verifier;
  return {
    source,
    installationId: options.installationId,
    keyFingerprint: await fingerprint(options.publicKey),
    keyIsGiven: given.publicKey !== undefined,
    rows: verifier.rows,
    removedByRetention: verifier.removedByRetention,
    checkpoint: last === undefined ? null : { number: last.number, size: last.size, sealedAt: last.sealedAt },
    keptElsewhere: verifier.external.map(({ number, size, sealedAt }) => ({ number, size, sealedAt })),
    findings: verifier.findings,
    remarks: verifier.remarks,
  };
}
