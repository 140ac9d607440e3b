// The managed root: its private half is encrypted with the master key, so that a stolen database can't sign a roster.
import type { KeyPair } from '@opsconductor/protocol/sealing';
import { unwrapDataKey, wrapDataKey } from '../credentials/at-rest/data-key.ts';
import type { MasterKey } from '../credentials/at-rest/master-key.ts';
import { AppError } from '../errors.ts';
import type { SegmentRow } from '../store/agents/segments.ts';

/** This server's identity for agents: what it signs with, and what agents pin. */
export interface PinnedIdentity {
  installationId: string;
  /** Ed25519. */
  serverKey: KeyPair;
}

export function sealRoot(masterKey: MasterKey, segmentId: number, privateKey: Uint8Array): Buffer {
  return Buffer.from(wrapDataKey(masterKey, privateKey, rootContext(segmentId)));
}

/**
 * Opens the private half of a segment's root. The caller must overwrite it after use.
 * @throws {AppError} `conflict` if its owner holds the root, so it is not here.
 */
export function openRoot(
  masterKey: MasterKey,
  segment: Pick<SegmentRow, 'id' | 'name' | 'rootKeySealed'>,
): Buffer {
  if (segment.rootKeySealed === null) {
    throw new AppError(
      'conflict',
      `The root of segment ${segment.name} is held by its owner, so this server can't sign its roster.`,
    );
  }
  return unwrapDataKey(masterKey, segment.rootKeySealed.toString(), rootContext(segment.id));
}

/** Binds a wrapped root to its segment. */
export function rootContext(segmentId: number): string {
  return `segment-root/${segmentId}`;
}
