// The test of a target, outside of any run: an agent of its segment dials it, checks the host key or certificate, logs
// in, and tries whether a command runs.
import type { LeaseCredential, LeaseTarget, TargetTested, TestResult } from '@opsconductor/protocol';
import { recordAudit } from '../audit/record-audit.ts';
import { auditedBy, type Caller } from '../caller.ts';
import { notFound } from '../errors.ts';
import { hostTrustOf } from '../host-keys/host-trust-of.ts';
import type { Sql } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { forgetChangedKeys, listHostKeys } from '../store/host-keys/host-keys.ts';
import { readTrust } from '../store/host-keys/host-trust.ts';
import { findSealedCredential } from '../store/targets/credentials.ts';
import { type Contact, writeContact } from '../store/targets/target-contacts.ts';
import { findTarget, type TargetRow } from '../store/targets/targets.ts';
import { connectionOf, leaseTarget } from './connection-of.ts';
import { contactFailure } from './contact-notes.ts';
import { parseHostKeyLine } from './host-key-line.ts';
import { hostKeyLinesOf, recordSeenHostKey } from './host-keys.ts';
import { jumpsTo, requireWays } from './jump-hosts.ts';
import { requireOnTarget } from './require-on-target.ts';

export interface TargetTestRequest {
  segmentId: number;
  target: LeaseTarget;
  credential?: LeaseCredential;
  timeoutMs: number;
}

/** How this feature reaches agents; the gateway implements it. */
export interface TargetTester {
  /**
   * Has a connected agent of the segment test the target.
   * @returns `no_agent` if the segment never had one, `disabled` if each is disabled or quarantined, `offline` if none is
   * connected or none answered in time.
   */
  testTarget(
    request: TargetTestRequest,
  ): Promise<{ agentName: string; tested: TargetTested } | 'no_agent' | 'disabled' | 'offline'>;
}

const timeoutMs = 20_000;

/**
 * @throws {AppError} `not_found`; `forbidden` if the caller may not test it, or may not use its credential or that of a
 * jump host.
 */
export async function testTarget(
  deps: { sql: Sql; agents: TargetTester },
  targetId: number,
  caller: Caller,
): Promise<TestResult> {
  const target = await findTarget(deps.sql, targetId, caller.authority.reach('read'));
  if (target === undefined) throw notFound('Target');
  await requireOnTarget(deps.sql, caller, 'targets.test', target);
  if (target.effectiveCredentialId !== null) {
    await requireOnTarget(deps.sql, caller, 'credentials.use', target);
  }
  const { jumpHosts } = connectionOf(target.mergedSettings, target.port);
  await requireWays(deps.sql, caller, [{ ...target, jumpHosts }]);
  const result = await testByAgent(deps, target);
  const contact = contactOf(result);
  if (contact !== undefined) await writeContact(deps.sql, targetId, contact);
  // A login needs an accepted key, and the test uses a new connection.
  if (contact?.ok === true) await forgetChangedKeys(deps.sql, [targetId]);
  await recordAudit(deps.sql, {
    ...auditedBy(caller),
    action: 'target.tested',
    object: { kind: 'target', id: targetId },
    detail: { target: target.name, ok: result.ok, reason: result.reason, agent: result.agentName },
    scope: { segmentId: target.segmentId },
  });
  return result;
}

function contactOf({ ok, reason }: TestResult): Contact | undefined {
  // Where no command runs, the login worked nevertheless, and a jump host needs no more.
  if (ok || reason === 'channel_refused') return { ok: true, reason: null };
  return reason === 'timed_out' ? { ok, reason } : contactFailure(reason);
}

async function testByAgent(deps: { sql: Sql; agents: TargetTester }, target: TargetRow): Promise<TestResult> {
  let { answer, seen } = await testOnce(deps, target);
  // The key of a fingerprint that was given in advance is now known, so a second test can do what the first could not.
  if (seen?.state === 'accepted' && seen.isNews) ({ answer, seen } = await testOnce(deps, target));
  return describe(deps.sql, target, answer);
}

const nothing = { agentName: null, offeredFingerprint: null, serverVersion: null, latencyMs: null };

async function acceptedFingerprintsOf(sql: Sql, target: TargetRow): Promise<string[]> {
  const keys = await listHostKeys(sql, [target.id]);
  return keys.filter((key) => key.state === 'accepted').map((key) => key.fingerprint);
}

type Answer = Awaited<ReturnType<TargetTester['testTarget']>> | { noWay: string };

async function testOnce(
  { sql, agents }: { sql: Sql; agents: TargetTester },
  target: TargetRow,
): Promise<{ answer: Answer; seen: Awaited<ReturnType<typeof recordSeenHostKey>> | undefined }> {
  const hostKeys = (await hostKeyLinesOf(sql, [target.id])).get(target.id) ?? [];
  const { id, name, host, segmentId, effectiveCredentialId } = target;
  const trust = hostTrustOf(await readTrust(sql, segmentId), host);
  const credential =
    effectiveCredentialId === null ? undefined : await findSealedCredential(sql, effectiveCredentialId);
  const connection = connectionOf(target.mergedSettings, target.port);
  const jumps = await jumpsTo(sql, target, connection.jumpHosts);
  if (typeof jumps === 'string') return { answer: { noWay: jumps }, seen: undefined };
  const answer = await agents.testTarget({
    segmentId,
    target: leaseTarget({ id, name, host, hostKeys, ...trust }, connection, jumps),
    ...(credential === undefined ? {} : { credential }),
    timeoutMs,
  });
  const offered = typeof answer === 'string' ? undefined : answer.tested.offeredHostKey;
  const seen =
    offered === undefined
      ? undefined
      : await inTransaction(sql, (tx) => recordSeenHostKey(tx, { targetId: id, hostKeyLine: offered }));
  return { answer, seen };
}

async function describe(sql: Sql, target: TargetRow, answer: Answer): Promise<TestResult> {
  const acceptedFingerprints = await acceptedFingerprintsOf(sql, target);
  if (answer === 'no_agent') {
    return {
      ...nothing,
      ok: false,
      reason: 'no_agent',
      message: `Segment ${target.segmentName} never had an agent, so nothing can reach ${target.name}.`,
      advice: 'Enroll an agent in this segment.',
      acceptedFingerprints,
    };
  }
  if (answer === 'disabled') {
    return {
      ...nothing,
      ok: false,
      reason: 'agents_disabled',
      message: `Every agent of segment ${target.segmentName} is disabled or in quarantine.`,
      advice: 'Enable an agent of this segment, or add another.',
      acceptedFingerprints,
    };
  }
  if (answer === 'offline') {
    return {
      ...nothing,
      ok: false,
      reason: 'agents_offline',
      message: `No agent of segment ${target.segmentName} is connected.`,
      advice: 'Find out why its agents are not connected, or start them.',
      acceptedFingerprints,
    };
  }
  if ('noWay' in answer) {
    return {
      ...nothing,
      ok: false,
      reason: 'jump_host_failed',
      message: answer.noWay,
      advice: 'Correct the jump hosts in the connection settings, or the target that they name.',
      acceptedFingerprints,
    };
  }
  const { agentName, tested } = answer;
  const offered = tested.offeredHostKey === undefined ? undefined : parseHostKeyLine(tested.offeredHostKey);
  return {
    ...verdictOf(target, tested, agentName),
    agentName,
    offeredFingerprint: offered?.fingerprint ?? null,
    acceptedFingerprints,
    serverVersion: tested.serverVersion ?? null,
    latencyMs: tested.latencyMs ?? null,
  };
}

function verdictOf(
  target: TargetRow,
  tested: TargetTested,
  agentName: string,
): Pick<TestResult, 'ok' | 'reason' | 'message' | 'advice'> {
  const isHostKeyReason = tested.reason?.startsWith('host_key') ?? false;
  // Without a credential, no login can be tried; an answer that ends earlier, at the host or its key, says more.
  if (
    target.effectiveCredentialId === null &&
    (tested.ok || !failedBeforeLogin.has(tested.reason ?? '')) &&
    !isHostKeyReason
  ) {
    return {
      ok: false,
      reason: 'no_credential',
      message: `${target.host}:${connectionOf(target.mergedSettings, target.port).port} answers, but ${target.name} has no credential, so no login was tried.`,
      advice: 'Choose a credential of this segment for the target, a group of it, or the segment.',
    };
  }
  if (tested.ok) {
    return {
      ok: true,
      reason: null,
      message: tested.message ?? `Agent ${agentName} logged in to ${target.name}.`,
      advice: null,
    };
  }
  return {
    ok: false,
    reason: tested.reason ?? 'internal',
    message: tested.message ?? `Agent ${agentName} could not log in to ${target.name}.`,
    advice: tested.advice ?? null,
  };
}

const failedBeforeLogin: ReadonlySet<string> = new Set([
  'unreachable',
  'name_not_found',
  'connection_refused',
  'connect_timed_out',
  'no_common_algorithm',
  'jump_host_failed',
  'timed_out',
  'connection_lost',
  'internal',
]);
