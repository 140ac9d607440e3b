// Builds what is to be signed for a run: exactly what its leases would say if they were made now.
import { canonicalJson, type JobDefinition } from '@opsconductor/protocol';
import {
  type GrantDraft,
  type GrantedTarget,
  grantedReach,
  grantedSecret,
  unsignablePart,
} from '@opsconductor/protocol/grants';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import { AppError, invalidField } from '../../errors.ts';
import { runAsCredential } from '../../jobs/checks/require-credential-use.ts';
import { loadJobVersion } from '../../jobs/versions/load-job-version.ts';
import type { Sql } from '../../store/database/connection.ts';
import { type LeaseDetails, plannedDetails } from '../../store/queue/claims/lease-details.ts';
import { findSigningAgents, findTargetFacts } from '../../store/runs/run-grants.ts';
import { protocolOf } from '../../targets/connection-of.ts';
import { LeaseBuilder } from '../leases/lease-builder.ts';
import type { SealedSecrets } from '../values/seal-secrets.ts';

const maxAgentsTold = 10;

export interface DraftDeps {
  sql: Sql;
  masterKey: MasterKey;
  identity: { installationId: string };
}

export interface RunToSign {
  jobId: number;
  jobVersion: number;
  startedBy: string;
  /** Without secret parameters. */
  values: Record<string, unknown>;
  secrets: SealedSecrets | undefined;
  targetIds: readonly number[];
  /** The only agents that may run it; at most one in each segment. */
  agentIds: readonly number[];
}

/**
 * Returns what is to be signed for a run.
 *
 * @throws {AppError} `invalid` if the job can't be signed, a target can't be reached, or an agent isn't one of those
 * that require signed runs.
 */
export async function draftOf(deps: DraftDeps, run: RunToSign): Promise<GrantDraft> {
  const { definition, checksum } = await loadJobVersion(deps, run.jobId, run.jobVersion);
  refuseUnsignable(definition);
  const groups = stepsByReach(definition);
  const [facts, reaches] = await Promise.all([
    findTargetFacts(deps.sql, run.targetIds),
    reachesByTarget(deps, run, groups),
  ]);
  const agentOf = await agentsBySegment(deps.sql, run.agentIds, facts);
  const secrets = await secretsBySegment(run.secrets);
  const targets = facts.map(({ id, segmentId, segment, os, labels }): GrantedTarget => {
    const agentId = agentOf.get(segmentId);
    return {
      segmentId,
      ...(agentId === undefined ? {} : { agentId }),
      segment,
      os,
      labels,
      secrets: secrets.get(segmentId) ?? [],
      reaches: reaches.get(id) ?? [],
    };
  });
  return {
    installationId: deps.identity.installationId,
    job: { id: run.jobId, version: run.jobVersion, checksum },
    startedBy: run.startedBy,
    parameters: run.values,
    definition,
    targets,
  };
}

/** Agents refuse such a job: a server could put another value or another content under the same grant. */
function refuseUnsignable({ steps }: JobDefinition): void {
  for (const [at, step] of steps.entries()) {
    const unsignable = unsignablePart(step);
    if (unsignable === undefined) continue;
    const { part, instead } = unsignable;
    const message = `A run of this job can’t be signed: step ${at + 1} (“${step.name}”) ${part}. ${instead}`;
    throw new AppError('invalid', message, { details: [{ path: `steps[${at}]`, message }] });
  }
}

/** Groups the numbers of the steps that reach a target in the same way. */
function stepsByReach({ steps }: JobDefinition): number[][] {
  const groups = new Map<string, number[]>();
  steps.forEach(({ type, connection, config }, index) => {
    const runAs = runAsCredential({ config }) ?? null;
    const key = canonicalJson([protocolOf(type), connection ?? null, runAs]);
    groups.set(key, [...(groups.get(key) ?? []), index + 1]);
  });
  return [...groups.values()];
}

async function reachesByTarget(
  deps: DraftDeps,
  { jobId, jobVersion, targetIds }: RunToSign,
  groups: readonly number[][],
): Promise<Map<number, GrantedTarget['reaches']>> {
  const stepNumbers = groups.flatMap(([first]) => first ?? []);
  const rows = await plannedDetails(deps.sql, { jobId, jobVersion, targetIds, stepNumbers });
  const found = await new LeaseBuilder(deps).reaches(rows);
  const byTarget = new Map<number, GrantedTarget['reaches']>();
  for (const [at, reach] of found.entries()) {
    if (typeof reach === 'string') throw new AppError('invalid', reach);
    const { targetId, stepNumber } = rows[at] as LeaseDetails & { targetId: number };
    const steps = groups.find(([first]) => first === stepNumber) ?? [];
    byTarget.set(targetId, [...(byTarget.get(targetId) ?? []), { steps, ...(await grantedReach(reach)) }]);
  }
  return byTarget;
}

async function secretsBySegment(
  sealed: SealedSecrets | undefined,
): Promise<Map<number, GrantedTarget['secrets']>> {
  const bySegment = new Map<number, GrantedTarget['secrets']>();
  for (const { segmentId, name, sealed: value } of sealed?.secrets ?? []) {
    const secret = await grantedSecret({ id: sealed?.id ?? '', name, sealed: value });
    bySegment.set(segmentId, [...(bySegment.get(segmentId) ?? []), secret]);
  }
  return bySegment;
}

async function agentsBySegment(
  sql: Sql,
  agentIds: readonly number[],
  targets: readonly { segmentId: number }[],
): Promise<Map<number, number>> {
  const known = await findSigningAgents(sql, [...new Set(targets.map(({ segmentId }) => segmentId))]);
  const bySegment = new Map<number, number>();
  for (const [at, id] of agentIds.entries()) {
    const agent = known.find(({ agentId }) => agentId === id);
    const isSecond = agent !== undefined && bySegment.has(agent.segmentId);
    if (agent === undefined || isSecond) {
      throw invalidField(
        `agentIds[${at}]`,
        isSecond ? 'Another agent of its segment is named, too.' : 'There is no such agent.',
        {
          found: String(id),
          allowed: 'one agent of each segment of the run, among those that run only what is signed',
        },
      );
    }
    bySegment.set(agent.segmentId, id);
  }
  const lone = known.find(
    ({ segmentId }) =>
      !bySegment.has(segmentId) && known.every((one) => one.segmentId !== segmentId || one.oneAgent),
  );
  if (lone === undefined) return bySegment;
  const able = known.filter(({ segmentId }) => segmentId === lone.segmentId).slice(0, maxAgentsTold);
  throw invalidField(
    'agentIds',
    `Agents of segment “${lone.segmentName}” run only what is signed for one of them.`,
    {
      allowed: `one of ${able.map(({ agentId, agentName }) => `${agentId} (${agentName})`).join(', ')}`,
    },
  );
}
