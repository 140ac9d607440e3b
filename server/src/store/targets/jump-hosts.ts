// Targets that serve as jump hosts, found by name.
import type { InheritedSettings } from '@opsconductor/protocol';
import type { SealedCredential } from '@opsconductor/protocol/sealing';
import type { Queryable } from '../database/connection.ts';
import { type TrustEntry, trustOfSegment } from '../host-keys/host-trust.ts';
import { inheritedCredential, mergedSettings } from './effective-settings.ts';

export interface JumpHostRow {
  id: number;
  name: string;
  segmentId: number;
  host: string;
  /** The target's own port. */
  port: number | null;
  settings: InheritedSettings;
  hostKeys: string[];
  hostTrust: TrustEntry[];
  credentialId: string | null;
  credentialVersion: number | null;
  credentialKind: string | null;
  sealed: SealedCredential | null;
}

/** Returns those of the named targets that exist in a segment, in no particular order. */
export async function findJumpHosts(
  sql: Queryable,
  segmentId: number,
  names: readonly string[],
): Promise<JumpHostRow[]> {
  return sql<JumpHostRow[]>`
    select t.id, t.name, t.segment_id, t.host, t.port, ${mergedSettings(sql)} as settings,
      array(select coalesce(k.public_key, k.fingerprint) from target_host_keys k
        where k.target_id = t.id and k.state = 'accepted' order by k.fingerprint) as host_keys,
      ${trustOfSegment(sql, sql`t.segment_id`)} as host_trust,
      c.id as credential_id, c.version as credential_version, c.kind as credential_kind, v.sealed
    from targets t
    join segments sg on sg.id = t.segment_id
    left join credentials c on c.id = ${inheritedCredential(sql)}
    left join credential_versions v on v.credential_id = c.id and v.version = c.version
    where t.segment_id = ${segmentId} and t.name = any(${names as string[]}::text[])`;
}

/** Returns targets with these names, in one segment or in all. */
export async function findTargetsNamed(
  sql: Queryable,
  names: readonly string[],
  segmentId?: number,
): Promise<{ id: number; name: string }[]> {
  return sql<{ id: number; name: string }[]>`
    select id, name from targets t
    where t.name = any(${names as string[]}::text[])
      and ${segmentId === undefined ? sql`true` : sql`t.segment_id = ${segmentId}`}
    order by id`;
}
