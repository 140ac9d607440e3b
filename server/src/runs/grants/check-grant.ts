// Checks that a run that is about to start has the grant that its segments require, and is as it was signed. Agents
// check this themselves and trust no server; here the person who starts the run is told before anything runs.
import { canonicalJson } from '@opsconductor/protocol';
import {
  type GrantedTarget,
  type GrantTerms,
  isSignedBy,
  readGrantedTarget,
  readTerms,
  type SignedGrant,
} from '@opsconductor/protocol/grants';
import { decodeBase64 } from '@opsconductor/protocol/sealing';
import { AppError, invalidField } from '../../errors.ts';
import type { Sql } from '../../store/database/connection.ts';
import { findRunOfGrant, findSigningAgents } from '../../store/runs/run-grants.ts';
import { type DraftDeps, draftOf, type RunToSign } from './grant-draft.ts';

const askAnew =
  'Have the run signed again as it is now: the console’s dialog for a run saves what is to be signed, and POST /api/v1/jobs/:id/grant-draft returns it.';

/**
 * Returns the grant that a run is started with, or `undefined` if it isn't signed.
 *
 * @throws {AppError} `invalid` if the grant is not for this run, naming the place that differs; also if there is none
 * and agents of a segment run only what is signed.
 */
export async function grantOfStart(
  deps: DraftDeps,
  grant: SignedGrant | undefined,
  run: Omit<RunToSign, 'agentIds'> & { segmentIds: readonly number[]; signedOnly: boolean; isRerun: boolean },
): Promise<CheckedGrant | undefined> {
  if (grant !== undefined) return checkGrant(deps, run, grant);
  if (run.signedOnly) await refuseUnsigned(deps.sql, run.segmentIds, run);
  return undefined;
}

async function refuseUnsigned(
  sql: Sql,
  segmentIds: readonly number[],
  { isRerun }: { isRerun: boolean },
): Promise<void> {
  const [agent] = await findSigningAgents(sql, segmentIds);
  if (agent === undefined) return;
  const instead = isRerun
    ? 'A rerun can’t be signed: start a new run with its grant.'
    : 'Ask POST /api/v1/jobs/:id/grant-draft for what is to be signed, have it signed (node scripts/opsconductor.mjs grant sign), and start the run with its grant.';
  throw invalidField(
    'grant',
    `Agents of segment “${agent.segmentName}” run only what is signed. ${instead}`,
    {
      allowed: 'a grant by a signer whom the owner of the segment’s agents trusts',
    },
  );
}

export interface CheckedGrant {
  terms: GrantTerms;
  /** Targets whose steps only one agent may run. */
  bound: { targetId: number; agentId: number }[];
}

async function checkGrant(
  deps: DraftDeps,
  run: Omit<RunToSign, 'agentIds'>,
  grant: SignedGrant,
): Promise<CheckedGrant> {
  const terms = readTerms(grant.terms);
  if (terms === undefined) throw invalidField('grant.terms', 'These are not the terms of a grant.');
  if (Date.parse(terms.expiresAt) <= Date.now()) {
    throw invalidField('grant.terms', `The grant has expired, at ${terms.expiresAt}. ${askAnew}`);
  }
  const granted = grant.targets.map(({ statement }, at) => {
    const target = readGrantedTarget(statement);
    if (target === undefined)
      throw invalidField(`grant.targets[${at}].statement`, 'It does not describe a target.');
    return target;
  });
  const agentIds = [...new Set(granted.flatMap(({ agentId }) => agentId ?? []))];
  const draft = await draftOf(deps, { ...run, agentIds });
  refuseOther('grant.terms', 'The run is', draft, terms, [
    'installationId',
    'job',
    'startedBy',
    'parameters',
  ]);
  const now = new Map(draft.targets.map((target) => [targetIdOf(target), target]));
  for (const [at, target] of granted.entries()) {
    const path = `grant.targets[${at}].statement`;
    const other = now.get(targetIdOf(target));
    if (other === undefined)
      throw invalidField(path, `It is for a target that the run does not have. ${askAnew}`);
    const name = target.reaches[0]?.target.name ?? '';
    refuseOther(path, `Target “${name}” is`, other, target, Object.keys({ ...other, ...target }) as never);
    now.delete(targetIdOf(target));
  }
  const [missing] = now.values();
  if (missing !== undefined) {
    const name = missing.reaches[0]?.target.name;
    throw invalidField('grant.targets', `Target “${name}” was not signed. ${askAnew}`);
  }
  await refuseForged(grant, terms);
  await refuseUsed(deps.sql, terms);
  return { terms, bound: granted.flatMap(boundOf) };
}

/** A grant starts one run: agents would refuse every step of a second one. */
async function refuseUsed(sql: Sql, { nonce }: Pick<GrantTerms, 'nonce'>): Promise<void> {
  const runId = await findRunOfGrant(sql, decodeBase64(nonce));
  if (runId === undefined) return;
  throw invalidField(
    'grant.terms',
    `Run ${runId} was started with this grant, and a grant starts one run. ${askAnew}`,
  );
}

async function refuseForged({ terms: text, targets }: SignedGrant, { signer }: GrantTerms): Promise<void> {
  const key = decodeBase64(signer.key);
  // One after the other, as each check copies the terms.
  for (const [at, target] of targets.entries()) {
    if (await isSignedBy(key, { terms: text, ...target })) continue;
    throw invalidField(
      `grant.targets[${at}].signature`,
      'It is not the signature of these terms and this target.',
    );
  }
}

function refuseOther<T extends object>(
  path: string,
  what: string,
  now: T,
  signed: { [K in keyof T]?: unknown },
  keys: readonly (keyof T & string)[],
): void {
  const differing = keys.find(
    (key) => canonicalJson([now[key] ?? null]) !== canonicalJson([signed[key] ?? null]),
  );
  if (differing === undefined) return;
  const place = firstDifference(differing, now[differing], signed[differing]);
  const message = `${what} not as it was signed: ${place} differs. ${askAnew}`;
  throw new AppError('invalid', `${path}: ${message}`, { details: [{ path, message }] });
}

/** Returns the path of the first difference between two values, as deep as both go: `reaches[0].credential.version`. */
function firstDifference(place: string, now: unknown, signed: unknown): string {
  const isParted = [now, signed].every((value) => typeof value === 'object' && value !== null);
  if (!isParted) return place;
  const [parts, others] = [Object(now), Object(signed)];
  const differing = Object.keys({ ...parts, ...others }).find(
    (key) => canonicalJson([parts[key] ?? null]) !== canonicalJson([others[key] ?? null]),
  );
  if (differing === undefined) return place;
  const inside = Array.isArray(now) ? `${place}[${differing}]` : `${place}.${differing}`;
  return firstDifference(inside, parts[differing], others[differing]);
}

function targetIdOf({ reaches }: GrantedTarget): number {
  return reaches[0]?.target.id ?? 0;
}

function boundOf(target: GrantedTarget): { targetId: number; agentId: number }[] {
  const { agentId } = target;
  return agentId === undefined ? [] : [{ targetId: targetIdOf(target), agentId }];
}
