// Targets of the stand-in: the list, connection tests and effective settings.
import { matchesSelector, parseSelector, type Target } from '@opsconductor/protocol';
import { credentials, targets } from './fixtures.ts';

export const manyTargets = Array.from({ length: 12_000 }, (_, at) => {
  const one = targets[at % targets.length] as (typeof targets)[number];
  const round = Math.floor(at / targets.length);
  return round === 0
    ? one
    : { ...one, id: at + 1, name: `${one.name}-${round}`, host: `${round}.${one.host}` };
});

function keyStateOf({ hostKeys }: Target): string {
  return (
    ['changed', 'accepted', 'pending'].find((state) => hostKeys.some((key) => key.state === state)) ?? 'none'
  );
}

export function targetPage(query: URLSearchParams, isEmpty: boolean) {
  const search = query.get('search')?.toLowerCase() ?? '';
  const selector = query.get('selector');
  const wanted = selector === null ? undefined : parseSelector(selector);
  const fits = (isEmpty ? [] : manyTargets).filter(
    (one) =>
      `${one.name} ${one.host}`.includes(search) &&
      (query.get('health') ?? one.health) === one.health &&
      (query.get('hostKey') ?? keyStateOf(one)) === keyStateOf(one) &&
      (query.get('operatingSystem') ?? one.operatingSystem) === one.operatingSystem &&
      (query.get('segmentId') ?? String(one.segmentId)) === String(one.segmentId) &&
      (wanted === undefined ||
        matchesSelector(wanted, {
          ...one,
          segment: one.segmentName,
          groups: one.groups.map(({ name }) => name),
        })),
  );
  const from = Number(query.get('cursor') ?? 0);
  const to = from + Number(query.get('limit') ?? 50);
  return {
    items: fits.slice(from, to),
    nextCursor: to < fits.length ? String(to) : null,
    ...(query.get('count') === 'true' ? { total: fits.length } : {}),
  };
}

function effectiveSettings(targetId: number) {
  const group = { kind: 'group', id: 1, name: 'Web servers' };
  const builtIn = { kind: 'default', id: null, name: '' };
  const setting = (
    name: string,
    value: string | number | null,
    display: string,
    source: object,
    overridden: object[] = [],
  ) => ({
    name,
    value,
    display,
    source,
    overridden,
    problem: null,
  });
  return {
    targetId,
    jobId: null,
    stepNumber: null,
    settings: [
      setting('protocol', 'ssh', 'ssh', builtIn),
      setting('port', 2222, '2222', { kind: 'target', id: targetId, name: '' }, [
        { value: 22, display: '22', source: builtIn },
      ]),
      setting('username', null, 'from the credential', builtIn),
      setting('connect_timeout', 30, '30 s', group, [
        { value: 20, display: '20 s', source: { kind: 'segment', id: 1, name: 'dmz-1' } },
        { value: 10, display: '10 s', source: builtIn },
      ]),
      setting('keepalive_interval', 15, '15 s', builtIn),
      setting('credential', credentials[0]?.id ?? null, 'web-patch', {
        kind: 'segment',
        id: 1,
        name: 'dmz-1',
      }),
    ],
  };
}

/** Answers a test of a target, or what else is asked of one. */
export function targetAnswer(id: number, what: string): unknown {
  const target = targets.find((one) => one.id === id);
  if (what === 'effective-settings') return effectiveSettings(id);
  if (target === undefined || what === 'host-keys') return target;
  const accepted = target.hostKeys.find((key) => key.state === 'accepted')?.fingerprint;
  const changed = target.hostKeys.find((key) => key.state === 'changed')?.fingerprint;
  const offered = target.hostKeys.at(-1)?.fingerprint ?? null;
  const result =
    changed !== undefined
      ? {
          ok: false,
          reason: 'host_key_mismatch',
          message: `${target.name} offers another key than the one accepted.`,
          advice: 'Compare it on the host’s own console before you replace it.',
        }
      : accepted === undefined
        ? {
            ok: false,
            reason: 'host_key_unknown',
            message: 'No key of this host is accepted yet.',
            advice: 'Compare the fingerprint and accept it.',
          }
        : id % 3 === 0
          ? {
              ok: false,
              reason: 'auth_failed',
              message: 'The host refused the key of user patch.',
              advice: 'Add the public key to authorized_keys.',
            }
          : { ok: true, reason: null, message: `${target.host} accepts user patch.`, advice: null };
  return {
    ...result,
    agentName: 'dmz-1-a',
    offeredFingerprint: offered,
    acceptedFingerprints: accepted === undefined ? [] : [accepted],
    serverVersion: 'OpenSSH_9.6',
    latencyMs: 41,
  };
}
