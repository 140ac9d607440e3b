import type { AgentMessageOf, ScannedHost } from '@opsconductor/protocol';
import { expect, test, vi } from 'vitest';
import { NoSegmentKey } from '../execution/secrets/credential-opener.ts';
import { emptyPolicy, type PolicyRules } from '../policy/agent-policy.ts';
import { PolicyGuard } from '../policy/policy-guard.ts';
import { setupSshd, sshTest } from '../ssh/sshd-setup.ts';
import type { JumpHost } from '../steps/step-type.ts';
import { HostScanner } from './host-scanner.ts';

type Told = AgentMessageOf<'hosts_scanned'>;

/** A scanner whose targets are done when the test says so. */
function setup(atATime: number, rules?: PolicyRules) {
  const open = new Map<number, (host: ScannedHost) => void>();
  const failing = new Map<number, (error: Error) => void>();
  const aborted: number[] = [];
  const told: Told[] = [];
  let wake = () => {};
  const logged = vi.fn();
  const scanner = new HostScanner({
    log: { error: logged },
    atATime,
    policy: new PolicyGuard({ policy: rules === undefined ? emptyPolicy : { fileRoots: [], rules } }),
    opener: { openWay: () => Promise.reject(new NoSegmentKey('There is no key')) },
    pool: { reach: () => Promise.reject(new Error('There is no way')) },
    scan: ({ id }, { signal }) =>
      new Promise((resolve, reject) => {
        open.set(id, resolve);
        failing.set(id, reject);
        signal.addEventListener('abort', () => {
          aborted.push(id);
          reject(signal.reason);
        });
      }),
  });
  const began = () =>
    scanner.began((message) => {
      told.push(message as Told);
      wake();
    });
  began();
  return {
    scanner,
    logged,
    began,
    open,
    aborted,
    told,
    finish(id: number) {
      open.get(id)?.({ targetId: id, ok: true, keys: [] });
      open.delete(id);
    },
    fail: (id: number, error: Error) => failing.get(id)?.(error),
    next: () => new Promise<void>((resolve) => (wake = resolve)),
    ask: (scanId: number, ...ids: number[]) =>
      scanner.onScan({
        type: 'scan_hosts',
        scanId,
        kind: 'keys',
        targets: ids.map((id) => ({ id, host: 'h', port: 22 })),
      }),
  };
}

test('only as many targets as allowed are scanned at a time, and results are reported together', async () => {
  const t = setup(2);
  t.ask(5, 1, 2, 3);
  expect([...t.open.keys()]).toEqual([1, 2]);
  const told = t.next();
  t.finish(1);
  await Promise.resolve();
  await expect.poll(() => [...t.open.keys()]).toEqual([2, 3]);
  t.finish(2);
  await told;
  expect(t.told).toMatchObject([{ scanId: 5, hosts: [{ targetId: 1 }, { targetId: 2 }] }]);
  t.scanner.ended();
});

test('a cancelled scan is dropped, running or not, and another goes on', async () => {
  const t = setup(1);
  t.ask(5, 1, 2);
  t.ask(6, 3);
  t.scanner.onCancel(5);
  expect(t.aborted).toEqual([1]);
  await expect.poll(() => t.open.has(3)).toBe(true);
  const told = t.next();
  t.finish(3);
  await told;
  expect(t.told).toMatchObject([{ scanId: 6, hosts: [{ targetId: 3 }] }]);
});

test('when the session ends, everything that was asked for in it ends unreported', async () => {
  const t = setup(2);
  t.ask(5, 1, 2, 3, 4);
  // This target has been scanned and waits to be reported with others; no timer fires in between.
  t.finish(1);
  for (let turns = 0; turns < 50 && !t.open.has(3); turns += 1) await Promise.resolve();
  expect([...t.open.keys()]).toEqual([2, 3]);
  t.scanner.ended();
  expect(t.aborted).toEqual([2, 3]);
  t.began();
  const told = t.next();
  t.ask(6, 5, 6);
  await expect.poll(() => [...t.open.keys()]).toEqual([2, 3, 5, 6]);
  t.finish(5);
  await told;
  expect(t.told).toMatchObject([{ scanId: 6, hosts: [{ targetId: 5 }] }]);
  t.scanner.ended();
});

test('a target that the owner of the machine does not allow is not contacted, and is reported as refused', async () => {
  const t = setup(2, { targets: { ports: [2222] } });
  const next = t.next();
  t.ask(5, 1);
  await next;
  expect(t.told).toMatchObject([{ hosts: [{ targetId: 1, ok: false, reason: 'policy_refused' }] }]);
  expect(t.open.size).toBe(0);
});

/** A jump host as in a message; what opens it does not matter here. */
function wireJump(name: string) {
  const sealed = { v: 1 as const, generation: 1, enc: '', wrappedKey: '', nonce: '', ciphertext: '' };
  return {
    target: { id: 9, name, host: 'h', port: 22, hostKeys: [] },
    credential: { id: '1', version: 1, kind: 'ssh_password', sealed },
  };
}

sshTest(
  'a target behind jump hosts is scanned from the last one, and a failure says which host it is about',
  async () => {
    const t = await setupSshd();
    const hop = (name: string, more: Partial<JumpHost['target']> = {}): JumpHost => ({
      target: { ...t.target, name, ...more },
      credential: t.credential,
      checkAddresses: () => {},
    });
    let way: JumpHost[] = [hop('outer'), hop('inner')];
    const told: ScannedHost[] = [];
    const scanner = new HostScanner({
      log: { error: () => {} },
      policy: new PolicyGuard({ policy: emptyPolicy }),
      opener: {
        openWay: async ({ jumps: _, ...place }) => ({ target: { ...place, jumps: way }, patterns: [] }),
      },
      pool: t.pool(),
    });
    scanner.began((message) => told.push(...(message as Told).hosts));
    const scan = async (port: number) => {
      const jumps = way.map(({ target }) => wireJump(target.name));
      const targets = [{ id: 1, name: 'behind', host: t.target.host, port }];
      scanner.onScan({ type: 'scan_hosts', scanId: 5, kind: 'keys', targets, jumps });
      await expect.poll(() => told.length, { timeout: 20_000 }).toBe(1);
      return told.pop();
    };
    expect(await scan(t.target.port)).toMatchObject({ ok: true, keys: t.target.hostKeys });
    expect(await scan(1)).toMatchObject({
      ok: false,
      reason: 'connection_refused',
      message: expect.stringContaining('From jump host “inner”: Nothing listens'),
    });
    way = [hop('outer'), hop('inner', { port: 1 })];
    expect(await scan(t.target.port)).toMatchObject({
      ok: false,
      reason: 'jump_host_failed',
      message: expect.stringMatching(
        /^Jump host “inner” on the way to “behind”: From jump host “outer”: Nothing/,
      ),
    });
    way = [hop('outer', { hostKeys: [] }), hop('inner')];
    expect(await scan(t.target.port)).toMatchObject({
      reason: 'jump_host_failed',
      message: expect.stringMatching(/^Jump host “outer” on the way to “.*SHA256:/),
    });
    scanner.ended();
  },
);

test('jump hosts that this agent has no key for are reported as such', async () => {
  const t = setup(2);
  const next = t.next();
  const targets = [{ id: 1, host: 'h', port: 22 }];
  t.scanner.onScan({ type: 'scan_hosts', scanId: 5, kind: 'keys', targets, jumps: [wireJump('hop')] });
  await next;
  expect(t.told).toMatchObject([
    {
      hosts: [
        {
          targetId: 1,
          ok: false,
          reason: 'credential_unusable',
          advice: expect.stringMatching(
            /gives it to this one.*If none does any more.*replace the credential/,
          ),
        },
      ],
    },
  ]);
});

test('a scan that fails in a way that nobody foresaw is in the log, to which its result refers; one that was cancelled is not', async () => {
  const t = setup(2);
  const failure = new Error('cannot read properties of undefined');
  const next = t.next();
  t.ask(5, 1, 2);
  t.fail(1, failure);
  await next;
  t.scanner.onCancel(5);
  expect(t.told).toMatchObject([
    { hosts: [{ targetId: 1, reason: 'internal', advice: expect.stringContaining('log') }] },
  ]);
  expect(t.aborted).toEqual([2]);
  t.ask(6, 3);
  await expect.poll(() => t.open.has(3)).toBe(true);
  expect(t.logged.mock.calls).toEqual([[{ err: failure, target: 1 }, expect.stringContaining('scan')]]);
  t.scanner.ended();
});
