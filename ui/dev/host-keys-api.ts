// The mock API for scans, known_hosts files and host authorities.
import {
  type HostScanDetail,
  type HostScanItem,
  type HostTrust,
  type KnownHostsItem,
  type KnownHostsPlan,
  type ScanFinding,
  scanFindings,
} from '@opsconductor/protocol';
import { ago } from './fixtures.ts';
import type { Answer } from './people-api.ts';

const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
function fingerprint(seed: number): string {
  let state = (seed * 2_654_435_761 + 97) >>> 0;
  return `SHA256:${Array.from({ length: 43 }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return letters[(state >>> 8) & 63];
  }).join('')}`;
}
const findingOf = (at: number): ScanFinding =>
  at === 40
    ? 'revoked'
    : at % 1_500 === 7
      ? 'changed'
      : at % 400 === 3
        ? 'unreachable'
        : at % 10 < 4
          ? 'new'
          : at % 10 === 4
            ? 'added'
            : at % 10 === 5
              ? 'certified'
              : 'same';
const items: HostScanItem[] = Array.from({ length: 12_000 }, (_, at) => {
  const finding = findingOf(at);
  const isClone = at % 900 < 3 && finding === 'new';
  const seen = finding !== 'unreachable';
  const key = (type: string, seed: number, accepted: boolean) => ({
    keyType: type,
    fingerprint: fingerprint(seed),
    accepted,
    revoked: finding === 'revoked' && type === 'ssh-ed25519',
    sharedBy: isClone ? 41 : 0,
    sharedWith: isClone ? ['dmz-web-00901', 'dmz-web-00902', 'dmz-web-00903'] : [],
  });
  const known = finding === 'same' || finding === 'added';
  return {
    targetId: at + 1,
    name: `dmz-web-${String(at + 1).padStart(5, '0')}`,
    segmentId: 1,
    segmentName: 'dmz-1',
    host: `10.20.${at >> 8}.${at & 255}`,
    port: at % 7 === 3 ? 2222 : 22,
    finding,
    reason: seen ? null : 'connect_timed_out',
    message: seen ? null : 'Nothing answered on this port within 10 s.',
    advice: seen
      ? null
      : 'See whether the host is up, and whether a firewall stands between it and the agent.',
    latencyMs: seen ? 3 + (at % 90) : null,
    serverVersion: seen ? 'OpenSSH_9.6' : null,
    finishedAt: ago(60_000),
    agentName: 'dmz-1-a',
    keys: seen
      ? [
          key('ecdsa-sha2-nistp256', at * 4 + 1, finding === 'same'),
          key('ssh-ed25519', isClone ? 99_999 : at * 4 + 2, known),
        ]
      : [],
    accepted:
      finding === 'changed'
        ? [
            {
              keyType: 'ssh-ed25519',
              fingerprint: fingerprint(at * 4 + 3),
              source: 'connection',
            },
          ]
        : known
          ? [{ keyType: 'ssh-ed25519', fingerprint: fingerprint(at * 4 + 2), source: 'scan' }]
          : [],
    certified: finding === 'certified' ? { authority: fingerprint(7), keyId: `host-${at + 1}` } : null,
    certificateProblem: null,
    mayApprove: true,
  };
});
const running = { at: 3_000 };
let approved = false;

function scan(id: number): HostScanDetail {
  const all = itemsOf(id);
  const counts = Object.fromEntries(scanFindings.map((one) => [one, 0])) as HostScanDetail['counts'];
  for (const item of all) counts[item.finding] += 1;
  const review = (finding: 'new' | 'added') => {
    const found = all.filter((item) => item.finding === finding);
    return {
      targets: found.length,
      keys: found.reduce((sum, item) => sum + item.keys.filter((key) => !key.accepted).length, 0),
      digest: '0'.repeat(64),
      mayApprove: true,
    };
  };
  return {
    id,
    kind: id === 13 ? 'reach' : 'keys',
    selection: {
      targets: id === 13 ? 4 : 0,
      groups: id === 14 ? [{ id: 1, name: 'Web servers' }] : [],
      selector: id === 15 ? 'segment:dmz-1 env=prod' : null,
      exclude: { targets: 0, groups: [], selector: id === 14 ? 'canary' : null },
      selected: all.length,
    },
    createdAt: ago((16 - id) * 3_600_000 + 90_000),
    createdBy: 'admin',
    completedAt: id === 15 ? null : ago(60_000),
    cancelledAt: null,
    total: all.length,
    done: all.length - counts.waiting,
    counts,
    shared: all.filter((item) => item.keys.some((key) => key.sharedBy > 0)).length,
    review: { new: review('new'), added: review('added') },
    notices:
      id === 15
        ? ['400 targets of segment core-2 wait. Agent core-2-a (1.3.0) is too old to scan; update it.']
        : [],
  };
}
function itemsOf(id: number): HostScanItem[] {
  if (id === 13) {
    return items.slice(1, 5).map((item) => ({
      ...item,
      keys: [],
      accepted: [],
      certified: null,
      finding: item.finding === 'unreachable' ? 'unreachable' : 'reachable',
    }));
  }
  const shown = items.map((item) =>
    approved && item.finding === 'new' ? { ...item, finding: 'same' as const } : item,
  );
  if (id !== 15) return shown;
  return shown.map((item, at) =>
    at < running.at ? item : { ...item, finding: 'waiting', keys: [], accepted: [], host: null, port: null },
  );
}

const trust: HostTrust[] = [
  ['authority', '*.example.net,!canary.example.net', 'The host CA of the data centre'],
  ['revoked', '*', 'Left on a stolen disk'],
].map(([kind, hosts, note], at) => ({
  id: at + 1,
  kind: kind as HostTrust['kind'],
  hosts: hosts ?? '*',
  keyType: 'ssh-ed25519',
  fingerprint: fingerprint(7 + at),
  publicKey: 'ssh-ed25519 AAAA',
  note: note ?? '',
  createdAt: ago(26 * 3_600_000),
  createdBy: 'admin',
}));

const lines: KnownHostsItem[] = Array.from({ length: 900 }, (_, at) => {
  const action =
    at === 0
      ? 'authority'
      : at === 1
        ? 'revoke'
        : at % 90 === 5
          ? 'conflict'
          : at % 30 === 4
            ? 'unusable'
            : at % 12 === 3
              ? 'no_target'
              : at % 3 === 0
                ? 'known'
                : 'accept';
  const named = ['accept', 'known', 'conflict'].includes(action);
  return {
    line: at + 1,
    action,
    targetId: named ? at + 1 : null,
    targetName: named ? `dmz-web-${String(at + 1).padStart(5, '0')}` : null,
    hosts: at % 4 === 0 ? '(hashed)' : `dmz-web-${at + 1}.example.net,10.20.0.${at & 255}`,
    keyType: action === 'unusable' ? null : 'ssh-ed25519',
    fingerprint: action === 'unusable' ? null : fingerprint(at * 4 + 2),
    message:
      action === 'conflict'
        ? `Of dmz-web-${at + 1} another key of this type is accepted: ${fingerprint(at)}.`
        : action === 'unusable'
          ? 'Keys of type ssh-dss are not accepted: agents don’t offer them.'
          : action === 'revoke'
            ? 'Refused for every host of the segment from then on.'
            : null,
  };
});
function plan(): KnownHostsPlan {
  const counts = { accept: 0, known: 0, conflict: 0, authority: 0, revoke: 0, no_target: 0, unusable: 0 };
  for (const { action } of lines) counts[action] += 1;
  return { segmentId: 1, counts, targets: counts.accept, digest: '0'.repeat(64), items: lines };
}

/** Answers a request about host keys in bulk; undefined for any other. */
export function hostKeysAnswer(
  method: string,
  path: string,
  query: URLSearchParams,
  body: Record<string, unknown>,
  isEmpty: boolean,
): Answer | undefined {
  const id = Number(/\d+/.exec(path)?.[0]);
  if (path.startsWith('/host-scans/') && ![13, 14, 15].includes(id)) return undefined;
  switch (`${method} ${path.replace(/\d+/, ':id')}`) {
    case 'GET /host-scans':
      return { status: 200, body: { items: isEmpty ? [] : [15, 14, 13].map(scan), nextCursor: null } };
    case 'POST /host-scans':
      return { status: 201, body: scan(body.kind === 'reach' ? 13 : 15) };
    case 'GET /host-scans/:id':
      return { status: 200, body: scan(id) };
    case 'GET /host-scans/:id/items': {
      const search = query.get('search') ?? '';
      const fits = itemsOf(id).filter(
        (item) =>
          (query.get('finding') === null || item.finding === query.get('finding')) &&
          (query.get('shared') !== 'true' || item.keys.some((key) => key.sharedBy > 0)) &&
          `${item.name} ${item.host}`.includes(search),
      );
      const from = Number(query.get('cursor') ?? 0);
      const to = from + Number(query.get('limit') ?? 50);
      return {
        status: 200,
        body: {
          items: isEmpty ? [] : fits.slice(from, to),
          nextCursor: to < fits.length ? String(to) : null,
        },
      };
    }
    case 'POST /host-scans/:id/cancel':
      running.at = 12_000;
      return { status: 200, body: scan(id) };
    case 'POST /host-scans/:id/approve': {
      if (body.keys !== undefined) {
        const message = 'dmz-web-00002 has shown another key since: SHA256:0000. Scan it again.';
        const details = [{ path: 'keys[0]', message }];
        return {
          status: 409,
          body: {
            error: {
              code: 'conflict',
              message: `${message} Nothing was accepted.`,
              requestId: 'req_7f',
              details,
            },
          },
        };
      }
      approved = true;
      return { status: 200, body: { targets: 4_773, keys: 9_546, replaced: 0 } };
    }
    case 'GET /segments/:id/host-trust':
      return { status: 200, body: { items: isEmpty ? [] : trust, nextCursor: null } };
    case 'POST /segments/:id/host-trust':
      return { status: 201, body: trust[0] };
    case 'POST /known-hosts/plan':
    case 'POST /known-hosts/apply':
      return { status: 200, body: plan() };
  }
  return undefined;
}
