import type { AgentMessageOf, ScannedHost } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { emptyPolicy, type PolicyRules } from '../policy/agent-policy.ts';
import { PolicyGuard } from '../policy/policy-guard.ts';
import { HostScanner } from './host-scanner.ts';

type Told = AgentMessageOf<'hosts_scanned'>;

/** A scanner whose targets are done when the test says so. */
function setup(atATime: number, rules?: PolicyRules) {
  const open = new Map<number, (host: ScannedHost) => void>();
  const aborted: number[] = [];
  const told: Told[] = [];
  let wake = () => {};
  const scanner = new HostScanner({
    atATime,
    policy: new PolicyGuard({ policy: rules === undefined ? emptyPolicy : { fileRoots: [], rules } }),
    scan: ({ id }, { signal }) =>
      new Promise((resolve, reject) => {
        open.set(id, resolve);
        signal.addEventListener('abort', () => {
          aborted.push(id);
          reject(signal.reason);
        });
      }),
  });
  scanner.began((message) => {
    told.push(message as Told);
    wake();
  });
  return {
    scanner,
    open,
    aborted,
    told,
    finish(id: number) {
      open.get(id)?.({ targetId: id, ok: true, keys: [] });
      open.delete(id);
    },
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

test('so many at a time are looked at, and told of together', async () => {
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

test('a scan that was cancelled is dropped, running or not, and another goes on', async () => {
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

test('with the session all that was asked in it ends, untold', () => {
  const t = setup(2);
  t.ask(5, 1, 2, 3);
  t.scanner.ended();
  expect(t.aborted).toEqual([1, 2]);
  expect(t.told).toEqual([]);
});

test('a target that the owner of the machine does not allow is not looked at, and told of as refused', async () => {
  const t = setup(2, { targets: { ports: [2222] } });
  const next = t.next();
  t.ask(5, 1);
  await next;
  expect(t.told).toMatchObject([{ hosts: [{ targetId: 1, ok: false, reason: 'policy_refused' }] }]);
  expect(t.open.size).toBe(0);
});
