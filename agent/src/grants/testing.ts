// A signed run, and the lease of one of its steps as an honest server sends it.
import { canonicalJson, type JobDefinition, type Lease, scopeOf } from '@opsconductor/protocol';
import {
  type GrantDraft,
  grantedReach,
  grantedSecret,
  type Signing,
  sha256Hex,
  signGrant,
} from '@opsconductor/protocol/grants';
import { encodeBase64, generateSigningKeyPair, type KeyPair } from '@opsconductor/protocol/sealing';
import type { RequireGrant } from '../policy/policy-schema.ts';

export const identity = { installationId: 'c5c0…-of-tests', segmentId: 3, agentId: 7 };
const startedAt = '2027-03-01T12:00:00.000Z';
export const definition: JobDefinition = {
  name: 'Restart',
  parameters: {
    service: { type: 'string' },
    token: { type: 'string', secret: true },
    unused: { type: 'string', default: 'x' },
  },
  steps: [
    {
      name: 'restart',
      type: 'ssh.exec',
      when: 'target.os == "linux"',
      outputs: { pid: { pattern: 'pid=([0-9]+)' } },
      config: { command: 'systemctl restart ${{ parameters.service }}', timeout: 60 },
    },
    { name: 'check', type: 'ssh.exec', config: { command: 'uptime' }, retry: { attempts: 2 } },
    { name: 'report', type: 'ssh.exec', config: { command: 'df' }, idempotent: true },
  ],
};

const seal = (ciphertext: string) =>
  ({ v: 1, generation: 1, enc: 'e', wrappedKey: 'w', nonce: 'n', ciphertext }) as const;
const credential = { id: 'b2f0a1de-0000-4000-8000-000000000000', version: 2, kind: 'ssh_password' };
const jumpTarget = { id: 9, name: 'jump', host: 'jump.example', port: 22, hostKeys: ['ssh-ed25519 J'] };

/** Step `number` of the run, as it was started. */
export function honestLease(number = 1): Omit<Lease, 'grant'> {
  const step = definition.steps[number - 1];
  const { notYet: _, ...scope } = scopeOf(definition, number - 1);
  return {
    step: 100 + number,
    epoch: 1,
    leaseToken: `token-of-step-${number}-epoch-1`,
    runId: 41,
    stepType: step?.type ?? '',
    config: step?.config,
    target: {
      id: 12,
      name: 'web-1',
      host: 'web-1.example',
      port: 2222,
      hostKeys: ['ssh-ed25519 AAAA'],
      hostAuthorities: [{ key: 'ssh-ed25519 CA', hosts: '*.example' }],
      revokedHostKeys: ['SHA256:x'],
      username: 'deploy',
      connectTimeoutS: 5,
      keepaliveIntervalS: 30,
      algorithms: 'legacy',
      maxConnections: 2,
      jumps: [{ target: jumpTarget, credential: { ...credential, version: 1, sealed: seal('jump') } }],
    },
    credential: { ...credential, sealed: seal('own') },
    rendering: {
      values: {
        parameters: { service: 'nginx', unused: 'x' },
        target: {
          name: 'web-1',
          host: 'web-1.example',
          port: 2222,
          os: 'linux',
          segment: 'dmz',
          labels: { env: 'prod' },
        },
        run: { id: 41, created_at: startedAt, created_by: 'mira' },
        job: { id: 5, name: 'Restart', version: 4 },
        steps: {},
      },
      secrets: [{ name: 'token', id: '0b7a39c2-0000-4000-8000-000000000000', sealed: seal('token') }],
      scope: { ...scope },
      ...(step?.when === undefined ? {} : { when: step.when }),
      step: step?.name ?? '',
      ...(step?.outputs === undefined ? {} : { outputs: step.outputs }),
    },
  };
}

export interface Signer {
  keys: KeyPair;
  rule: RequireGrant;
  /** Returns the lease with the grant that its run was signed with, or with one that differs. */
  granted(
    lease: Omit<Lease, 'grant'>,
    number?: number,
    differing?: Partial<Signing & GrantDraft>,
  ): Promise<Lease>;
}

export async function signer(): Promise<Signer> {
  const keys = await generateSigningKeyPair();
  const rule: RequireGrant = { signers: [{ name: 'lead', public_key: encodeBase64(keys.publicKey) }] };
  const nonceful = new Map<string, ReturnType<typeof signGrant>>();
  return {
    keys,
    rule,
    async granted(lease, number = 1, differing = {}) {
      const key = canonicalJson(differing);
      // A run is signed once: its steps come under one nonce.
      const signing =
        nonceful.get(key) ?? signGrant(await draftOfTests(differing), { ...signingOf(keys), ...differing });
      nonceful.set(key, signing);
      const { terms, targets } = await signing;
      const [target] = targets;
      if (target === undefined) throw new Error('Nothing was signed');
      return {
        ...lease,
        grant: {
          terms,
          ...target,
          definition: canonicalJson(differing.definition ?? definition),
          step: number,
        },
      };
    },
  };
}

function signingOf({ privateKey }: KeyPair): Signing {
  const [notBefore, expiresAt] = [new Date('2027-03-01T11:55:00Z'), new Date('2027-03-01T20:00:00Z')];
  return { privateKey, class: 'cli', notBefore, expiresAt };
}

/** The draft of the run to sign. */
export async function draftOfTests(differing: Partial<GrantDraft> = {}): Promise<GrantDraft> {
  const { target, credential: opened, rendering } = honestLease();
  const asked = differing.definition ?? definition;
  const secrets = await Promise.all((rendering?.secrets ?? []).map(grantedSecret));
  return {
    installationId: identity.installationId,
    job: { id: 5, version: 4, checksum: await sha256Hex(canonicalJson(asked)) },
    startedBy: 'mira',
    parameters: { service: 'nginx', unused: 'x' },
    definition,
    targets: [
      {
        segmentId: identity.segmentId,
        os: 'linux',
        segment: 'dmz',
        labels: { env: 'prod' },
        secrets,
        reaches: [{ steps: [1, 2, 3], ...(await grantedReach({ target, credential: opened })) }],
      },
    ],
    ...differing,
  };
}
