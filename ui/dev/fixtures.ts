// What the mock API serves: an installation at 02:27 at night, and runs of several sizes.
import type {
  Agent,
  AgentDetail,
  Credential,
  Job,
  JobListItem,
  Me,
  RunStatus,
  Segment,
  Target,
} from '@opsconductor/protocol';
import { permissions } from '@opsconductor/protocol';

export const startedAt = Date.now();
export const ago = (ms: number) => new Date(startedAt - ms).toISOString();
const minute = 60_000;
const hour = 60 * minute;

export const me: Me = {
  id: 1,
  name: 'admin',
  displayName: '',
  kind: 'person',
  roles: ['admin'],
  permissions: [...permissions],
  reach: permissions.map((permission) => ({ permission, everywhere: true, within: [] })),
  hasPassword: true,
  needsCurrentPassword: false,
  via: 'session',
};

const segmentRows = [
  ['dmz-1', 'degraded', 1842, 3, 300, 'managed'],
  ['core-2', 'healthy', 6310, 0, 300, 'owner_held'],
  ['plant-north', 'offline', 412, 11, 1800, 'managed'],
  ['lab', 'no_agent', 16, 0, 300, 'managed'],
] as const;
export const segments: Segment[] = segmentRows.map(
  ([name, health, targetCount, waitingSteps, unknownAfter, root], at) => ({
    id: at + 1,
    name,
    description: '',
    unknownAfter,
    root,
    rootFingerprint: 'SHA256:6b1f0c9e47d2Hn8sLx42cYb7pKe1VtGj9RwZqUo3Dma',
    keyGeneration: health === 'no_agent' ? 0 : 1,
    health,
    targetCount,
    waitingSteps,
    keyRotationWantedAt: null,
    toSign: null,
    credentialsToRotate: name === 'dmz-1' ? 1 : 0,
    createdAt: ago(90 * 24 * hour),
  }),
);

const agentRows = [
  ['dmz-1-a', 1, 'connected', 0, 6, '10.20.4.11', 0, 0],
  ['dmz-1-b', 1, 'silent', 461_000, 0, '10.20.4.12', 0, 2],
  ['core-2-a', 2, 'connected', 0, 4, '10.40.0.21', 0, 0],
  ['core-2-b', 2, 'connected', 0, 3, '10.40.0.22', 12_000_000, 0],
  ['core-2-c', 2, 'draining', 7 * minute, 1, '10.40.0.23', 0, 0],
  ['plant-north-a', 3, 'offline', 126 * minute, 0, '10.77.1.5', 0, 0],
  ['core-2-d', 2, 'silent', 21_000, 0, '10.40.0.24', 3_000_000, 0],
] as const;
export const agents: Agent[] = agentRows.map(
  ([name, segmentId, state, since, used, address, spoolBytes, unknownSteps], at) => ({
    id: at + 1,
    name,
    segmentId,
    segmentName: segments[segmentId - 1]?.name ?? '',
    state,
    since: since === 0 ? null : ago(since),
    slots: 16,
    slotsInUse: used,
    lastHeartbeatAt: ago(since === 0 ? 2000 : since),
    version: '0.1.0',
    platform: 'linux-x64',
    hostname: name,
    address,
    spoolBytes,
    rssBytes: 64_000_000,
    loadAverage: 0.42,
    busyReason: name === 'core-2-b' ? 'load' : null,
    drainRequestedAt: null,
    labels: name === 'dmz-1-a' ? { rack: '7', spare: '' } : {},
    lastClose: null,
    hasSegmentKey: true,
    unknownSteps,
    fingerprint: 'SHA256:T5vKw0Rj8NcLz3PqYe6MbXs1UhGd9FoAi7tVkC2yWmE',
    enrolledAt: ago(60 * 24 * hour),
    ...(name === 'core-2-d'
      ? {
          version: '0.0.9',
          lastClose: {
            code: 4000,
            reason: 'heartbeat: held is missing',
            at: ago(21_000),
            since: ago(9 * 60_000),
            address: '10.40.0.24',
          },
        }
      : {}),
  }),
);

const key = (state: 'accepted' | 'pending' | 'changed', fingerprint: string) => ({
  keyType: 'ssh-ed25519',
  fingerprint: `SHA256:${fingerprint}`,
  state,
  seenAt: ago(hour),
  acceptedAt: state === 'accepted' ? ago(hour) : null,
  acceptedBy: state === 'accepted' ? 'admin' : null,
  source: 'connection' as const,
});
const known = 'q3Zr9Vb1mWk0tE7yXn5sJc2LhUoPdA8fGi4RvTz6MwQ';
const other = 'Hn8sLx42cYb7pKe1VtGj9RwZqUo3DmFi5TaXv0NhJsE';
const fresh = 'T5vKw0Rj8NcLz3PqYe6MbXs1UhGd9FoAi7tVkC2yWmE';
export const targets: Target[] = [
  ...Array.from({ length: 16 }, (_, at) => `dmz-web-${String(at + 1).padStart(2, '0')}`),
  'dmz-db-01',
  'dmz-db-02',
  ...Array.from({ length: 10 }, (_, at) => `core-web-${String(at + 1).padStart(2, '0')}`),
].map((name, at) => ({
  id: at + 1,
  name,
  segmentId: name.startsWith('dmz') ? 1 : 2,
  segmentName: name.startsWith('dmz') ? 'dmz-1' : 'core-2',
  host: `${name}.example.net`,
  port: at % 7 === 3 ? 2222 : null,
  credentialId: at % 9 === 8 || at % 4 === 1 ? null : '6ec0bd7f-11c0-43da-975e-2a8ad9ebae0b',
  credentialName: at % 9 === 8 || at % 4 === 1 ? null : 'web-patch',
  operatingSystem: name.includes('db') ? ('other' as const) : ('linux' as const),
  labels: {
    env: at % 3 === 0 ? 'stage' : 'prod',
    tier: name.includes('db') ? 'database' : 'web',
    ...(at % 8 === 0 ? { canary: '' } : {}),
  } as Record<string, string>,
  description: '',
  settings: {},
  isActive: at % 13 !== 12,
  groups: name.includes('web') ? [{ id: 1, name: 'Web servers' }] : [],
  effective: {
    protocol: 'ssh' as const,
    port: at % 7 === 3 ? 2222 : 22,
    credentialId: at % 9 === 8 ? null : '6ec0bd7f-11c0-43da-975e-2a8ad9ebae0b',
    credentialName: at % 9 === 8 ? null : 'web-patch',
  },
  health: at % 11 === 10 ? ('never' as const) : at % 6 === 5 ? ('failing' as const) : ('ok' as const),
  lastProbe:
    at % 5 === 4
      ? null
      : {
          at: ago(at * 40_000),
          ok: at % 6 !== 5,
          reason: at % 6 === 5 ? 'connect_timed_out' : null,
          latencyMs: at % 6 === 5 ? null : 2.4 + at * 3,
        },
  lastContact:
    at % 11 === 10
      ? null
      : { at: ago(at * 9 * 60_000), ok: at % 6 !== 5, reason: at % 6 === 5 ? 'connect_timed_out' : null },
  hostKeys:
    name === 'dmz-db-02'
      ? [key('accepted', known), key('changed', other)]
      : name === 'dmz-web-15' || name === 'dmz-web-16'
        ? [key('pending', fresh)]
        : [key('accepted', known)],
  createdAt: ago(50 * 24 * hour),
  updatedAt: ago(50 * 24 * hour),
}));

export const credentials: Credential[] = [
  ['web-patch', 1, 'ssh_private_key', 'patch on dmz-web-*, dmz-db-* in 10.20.0.0/16, port 22', 16],
  ['core-patch', 2, 'ssh_private_key', 'patch on core-* in 10.40.0.0/16, port 22', 10],
  ['switch-backup', 2, 'ssh_password', 'backup on *, port 22, 2222', 0],
].map(([name, segmentId, kind, description, targetCount], at) => ({
  id: `6ec0bd7f-11c0-43da-975e-2a8ad9ebae0${at}`,
  name: name as string,
  segmentId: segmentId as number,
  segmentName: segments[(segmentId as number) - 1]?.name ?? '',
  kind: kind as Credential['kind'],
  version: 1,
  generation: 1,
  toRotate: name === 'web-patch',
  description: description as string,
  targetCount: targetCount as number,
  createdAt: ago((at + 1) * 5 * 24 * hour),
  createdBy: 'admin',
  expiresOn: [null, ago(-12 * 24 * hour), ago(-200 * 24 * hour)][at]?.slice(0, 10) ?? null,
}));

const definitions = [
  [
    'Patch web tier',
    'Drains, snapshots, updates and verifies web hosts',
    18,
    'running',
    ['drain', 'snapshot', 'apply', 'verify'],
  ],
  [
    'Rotate TLS certificates',
    'Fetches, installs and reloads on load balancers',
    6,
    'running',
    ['fetch', 'install'],
  ],
  ['Collect inventory', 'Hardware, packages and listening ports', 4, 'partial', ['collect']],
  [
    'Deploy edge configuration',
    'Syncs /etc/edge from a file set and reloads',
    2,
    'succeeded',
    ['sync', 'reload'],
  ],
  ['Back up switch configurations', 'Reads running-config from network devices', 7, 'succeeded', ['read']],
  [
    'Roll kernel on database replicas',
    'One replica at a time, waits for replication lag under 5 s',
    72,
    'unknown',
    ['roll'],
  ],
  ['Clear print spoolers', 'Stops spooler, removes jobs older than a day, starts it', 1, 'failed', ['clear']],
  [
    'Expire stale accounts',
    'Disables local accounts unused for 90 days, dry run by default',
    9,
    'cancelled',
    ['expire'],
  ],
  [
    'Synchronise package mirror',
    'Mirrors the approved snapshot into each segment',
    38,
    'timed_out',
    ['mirror'],
  ],
  [
    'Verify backups',
    'Restores the newest dump to a scratch host and counts rows',
    26,
    'succeeded',
    ['restore', 'count'],
  ],
  ['Decommission host', 'Removes from pools, monitoring and DNS, archives disks', 0, null, ['remove']],
  [
    'Upgrade firmware',
    'A hundred steps, one for each component',
    44,
    'running',
    Array.from({ length: 100 }, (_, at) => `part-${at + 1}`),
  ],
] as const;
const odd: RunStatus[] = ['partial', 'failed', 'timed_out', 'cancelled', 'held'];
export const jobs: (JobListItem & Job)[] = definitions.map(
  ([name, description, minutes, last, steps], at) => ({
    id: at + 1,
    name,
    description,
    category: ['patching', 'network', 'patching', 'general', 'deployment'][at % 5] ?? 'general',
    categoryId: [1, 2, 1, 3, 4][at % 5] ?? 3,
    version: 18 - at,
    state: at === 9 ? 'draft' : 'active',
    isActive: at !== 9,
    stateNote: '',
    nextStates: at === 9 ? ['active', 'archived'] : ['inactive', 'archived'],
    madeFrom: null,
    names: [],
    savedAt: ago((at + 2) * 24 * hour),
    savedBy: 'admin',
    note: '',
    labels: at % 3 === 0 ? { env: 'prod', tier: 'web' } : {},
    isTemplate: false,
    stepCount: steps.length,
    stepTypes: ['ssh.exec'],
    createdBy: 'admin',
    createdAt: ago(80 * 24 * hour),
    updatedAt: ago((at + 2) * 24 * hour),
    lastRuns:
      last === null
        ? []
        : Array.from({ length: 20 }, (_, nth) => ({
            id: at === 0 && nth === 0 ? 4127 : 4000 - at * 20 - nth,
            status:
              nth === 0
                ? last
                : (nth * 7 + at * 3) % 11 === 0
                  ? (odd[(nth + at) % odd.length] ?? 'failed')
                  : 'succeeded',
            createdAt: ago((at * 40 + 13) * minute + nth * 24 * hour),
            executionTimeMs: minutes * minute * (0.7 + ((nth * 37) % 11) / 15),
          })),
    checksum: 'a83e6b1f0c9e47d29b1d0f2c7e5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a',
    definition: {
      name,
      description,
      start_within: 3600,
      ...(at === 0
        ? {
            priority: 20,
            timeout: 7200,
            strategy: {
              batches: [2, '10%', '25%'],
              max_parallel: 8,
              max_failures: '5%',
              order: 'name' as const,
            },
            locks: [{ name: 'lb-pool', mode: 'shared' as const, slots: 8, per: 'segment' as const }],
          }
        : {}),
      steps: steps.map((step) => ({
        name: step,
        ...(step === 'apply' ? { on_unknown: 'hold' as const, hold_for: 3600 } : {}),
        ...(step === 'snapshot' ? { retry: { attempts: 3, delay: 30 }, idempotent: true } : {}),
        ...(step === 'verify' ? { when_status: 'always' as const } : {}),
        type: 'ssh.exec' as const,
        config: {
          command:
            step === 'apply'
              ? 'set -eux\napt-get -q update\napt-get -qy -o Dpkg::Options::=--force-confold dist-upgrade'
              : `${step}-ctl "$(hostname)"`,
          timeout: 1800,
          environment: { DEBIAN_FRONTEND: 'noninteractive' },
        },
      })),
    },
  }),
);

/** Returns what an agent's page needs; with `idle`, the agent runs nothing. */
export function agentDetail(id: number, idle: boolean): AgentDetail | undefined {
  const agent = agents.find((one) => one.id === id);
  if (agent === undefined) return undefined;
  const used = idle ? 0 : agent.slotsInUse;
  return {
    ...agent,
    slotsInUse: used,
    onServerMachine: false,
    keysChangedAt: null,
    newKeysWantedAt: null,
    connectedAt: agent.state === 'connected' ? ago(3 * hour) : null,
    keyGenerations: [1],
    currentGeneration: 1,
    steps: Array.from({ length: used }, (_, at) => ({
      runId: 4127,
      jobName: 'patch-web-tier',
      targetRunId: at + 1,
      targetName: `dmz-web-${String(at + 1).padStart(2, '0')}`,
      stepId: at + 1,
      stepNumber: 3,
      stepName: 'install security updates',
      leasedAt: ago((at + 1) * 21_000),
      startedAt: at === used - 1 ? null : ago((at + 1) * 21_000),
    })),
    revocation: {
      remainingAgents: agent.segmentId === 3 ? 0 : 1,
      credentials: agent.segmentId === 3 ? 2 : 1,
    },
  };
}
