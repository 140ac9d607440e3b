// Everything that a thief with a database and its master key can read in it.
import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { unwrapDataKey } from '../../server/src/credentials/at-rest/data-key.ts';
import type { MasterKey } from '../../server/src/credentials/at-rest/master-key.ts';
import { openAtRest } from '../../server/src/credentials/at-rest/seal-at-rest.ts';
import { openDefinition } from '../../server/src/jobs/definition/seal-definition.ts';
import { chunkAad, runKeyContext } from '../../server/src/runs/run-keys.ts';
import { openNames } from '../../server/src/runs/transfers/transfer-taker.ts';
import { openOutputs, openParameters } from '../../server/src/runs/values/values-at-rest.ts';
import type { Sql } from '../../server/src/store/database/connection.ts';

export async function readMasterKey(file: string): Promise<MasterKey> {
  const { id, key } = JSON.parse(await readFile(file, 'utf8')) as { id: string; key: string };
  return { id, key: Buffer.from(key, 'base64') };
}

/** Every row of every table as JSON: what a dump contains. */
export async function dumpRows(sql: Sql): Promise<string> {
  const tables = await sql<{ name: string }[]>`
    select table_name as name from information_schema.tables
    where table_schema = 'public' and table_type = 'BASE TABLE'`;
  const rows: string[] = [];
  for (const { name } of tables) {
    const found = await sql<{ row: string }[]>`select to_jsonb(x)::text as row from ${sql(name)} x`;
    rows.push(...found.map(({ row }) => row));
  }
  return rows.join('\n');
}

/**
 * Definitions, parameters, outputs of steps, command output (decompressed) and file names as text; and all their data
 * keys.
 */
export async function openAllAtRest(
  sql: Sql,
  masterKey: MasterKey,
): Promise<{ text: string; keys: Buffer[] }> {
  const versions = await sql<{ jobId: number; version: number; definition: Buffer; dataKey: string }[]>`
    select v.job_id, v.version, v.definition, j.data_key from job_versions v join jobs j on j.id = v.job_id`;
  const parts: string[] = versions.map((row) =>
    JSON.stringify(openDefinition(masterKey, row.jobId, row.version, row as never)),
  );
  const runs = await sql<{ id: number; jobId: number; dataKey: string; parameters: Buffer | null }[]>`
    select id, job_id, data_key, parameters from job_runs`;
  const keys: Buffer[] = [];
  for (const { id, jobId, dataKey, parameters } of runs) {
    const key = unwrapDataKey(masterKey, dataKey, runKeyContext(jobId));
    keys.push(key);
    parts.push(JSON.stringify(openParameters(key, id, parameters)), ...(await openRun(sql, id, key)));
  }
  return { text: parts.join('\n'), keys };
}

async function openRun(sql: Sql, runId: number, key: Buffer): Promise<string[]> {
  const steps = sql`select id from job_run_steps where job_run_id = ${runId}`;
  const outputs = await sql<{ stepId: number; epoch: number; outputs: Buffer | null }[]>`
    select job_run_step_id as step_id, epoch, outputs from job_run_step_outputs where job_run_step_id in (${steps})`;
  const names = await sql<{ stepId: number; epoch: number; number: number; names: Buffer }[]>`
    select job_run_step_id as step_id, epoch, number, names from sftp_file_transfers where job_run_step_id in (${steps})`;
  const chunks = await sql<{ stepId: number; epoch: number; seq: number; sealed: Buffer }[]>`
    select job_run_step_id as step_id, epoch, seq, sealed from run_output where job_run_step_id in (${steps})
    order by job_run_step_id, epoch, stream, seq`;
  // Concatenated, because a secret that is cut in two is still a secret.
  const text = Buffer.concat(
    chunks.map((chunk) => gunzipSync(openAtRest(key, chunk.sealed, chunkAad(chunk)))),
  );
  return [
    ...outputs.map((row) => JSON.stringify(openOutputs(key, row, row.outputs))),
    ...names.map((row) => JSON.stringify(openNames(key, row, row.number, row.names))),
    text.toString('latin1'),
  ];
}
