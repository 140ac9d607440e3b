// A definition at rest: JSON encrypted with the job's own data key and bound to job and version. Parameters stay in the
// order in which they were written, because forms show them in it; the checksum does not depend on the order.

import { createHash } from 'node:crypto';
import type { JobDefinition } from '@opsconductor/protocol';
import { canonicalJson } from '@opsconductor/protocol';
import { newDataKey, unwrapDataKey, wrapDataKey } from '../../credentials/at-rest/data-key.ts';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import { aadOf, openAtRest, sealAtRest } from '../../credentials/at-rest/seal-at-rest.ts';
import type { JobVersionRow } from '../../store/jobs/job-versions.ts';

/** Maximum size of a definition as JSON, in bytes. */
export const maxDefinitionBytes = 1024 * 1024;

export interface EncodedDefinition {
  bytes: Buffer;
  /** SHA-256 of the canonical JSON. */
  checksum: Buffer;
}

/**
 * Returns a definition’s bytes as they are stored, and the SHA-256 of its canonical JSON, which does not depend on the
 * order of keys.
 */
export function encodeDefinition(definition: JobDefinition): EncodedDefinition {
  return {
    bytes: Buffer.from(JSON.stringify(definition)),
    checksum: createHash('sha256').update(canonicalJson(definition)).digest(),
  };
}

/** Seals a definition with a new data key, for a new job. */
export function sealNewDefinition(
  masterKey: MasterKey,
  jobId: number,
  version: number,
  bytes: Buffer,
): { dataKey: string; definition: Buffer } {
  const dataKey = newDataKey();
  try {
    return {
      dataKey: wrapDataKey(masterKey, dataKey, jobKeyContext(jobId)),
      definition: sealAtRest(dataKey, bytes, definitionAad(jobId, version)),
    };
  } finally {
    dataKey.fill(0);
  }
}

/** Seals another version with the job's existing data key. */
export function sealDefinition(
  masterKey: MasterKey,
  jobId: number,
  version: number,
  { dataKey: wrapped, bytes }: { dataKey: string; bytes: Buffer },
): Buffer {
  const dataKey = unwrapDataKey(masterKey, wrapped, jobKeyContext(jobId));
  try {
    return sealAtRest(dataKey, bytes, definitionAad(jobId, version));
  } finally {
    dataKey.fill(0);
  }
}

/**
 * Opens a stored version.
 * @throws {AtRestError} if the row was altered or moved, or belongs to another master key.
 */
export function openDefinition(
  masterKey: MasterKey,
  jobId: number,
  version: number,
  row: JobVersionRow,
): JobDefinition {
  const dataKey = unwrapDataKey(masterKey, row.dataKey, jobKeyContext(jobId));
  try {
    return JSON.parse(openAtRest(dataKey, row.definition, definitionAad(jobId, version)).toString());
  } finally {
    dataKey.fill(0);
  }
}

/** Binds a job's wrapped key to that job. */
export function jobKeyContext(jobId: number): string {
  return `job/${jobId}`;
}

function definitionAad(jobId: number, version: number): Uint8Array {
  return aadOf('job_versions', jobId, version);
}
