import { expect, test } from 'vitest';
import { ManualClock } from '../testing/agent-setup.ts';
import { LeaseDeadline } from './lease-deadline.ts';

function setup() {
  const clock = new ManualClock();
  const deadline = new LeaseDeadline(clock);
  deadline.begin(deadline.now(), 20_000);
  return { clock, deadline };
}

test('before any session everything is past the deadline', () => {
  expect(new LeaseDeadline(new ManualClock()).passed()).toBe(true);
});

test('the deadline passes when either clock has run for the TTL', () => {
  const monotonic = setup();
  monotonic.clock.monotonic += 19_999;
  expect(monotonic.deadline.passed()).toBe(false);
  monotonic.clock.monotonic += 1;
  expect(monotonic.deadline.passed()).toBe(true);
  // The machine slept, so its monotonic clock stood still.
  const slept = setup();
  slept.clock.wall += 20_000;
  expect(slept.deadline.passed()).toBe(true);
});

test('a wall clock that is set back does not lengthen a lease', () => {
  const { clock, deadline } = setup();
  clock.wall -= 3_600_000;
  clock.monotonic += 20_000;
  expect(deadline.passed()).toBe(true);
});

test('an acknowledgement renews from when its heartbeat was sent, not from when it arrived', () => {
  const { clock, deadline } = setup();
  clock.monotonic += 5_000;
  deadline.heartbeatSent(1);
  clock.monotonic += 10_000;
  deadline.heartbeatAcknowledged(1);
  expect(deadline.elapsedMs()).toBe(10_000);
});

test('a heartbeat that was not acknowledged renews nothing', () => {
  const { clock, deadline } = setup();
  clock.monotonic += 19_000;
  deadline.heartbeatSent(1);
  clock.monotonic += 1_000;
  expect(deadline.passed()).toBe(true);
});

test('an acknowledgement of an earlier session renews nothing', () => {
  const { clock, deadline } = setup();
  deadline.heartbeatSent(1);
  clock.monotonic += 5_000;
  deadline.begin(deadline.now(), 20_000);
  clock.monotonic += 15_000;
  deadline.heartbeatAcknowledged(1);
  expect(deadline.elapsedMs()).toBe(15_000);
});

test('a second acknowledgement, or one of a heartbeat that was never sent, renews nothing', () => {
  const { clock, deadline } = setup();
  deadline.heartbeatSent(1);
  deadline.heartbeatAcknowledged(1);
  clock.monotonic += 20_000;
  deadline.heartbeatAcknowledged(1);
  deadline.heartbeatAcknowledged(7);
  expect(deadline.passed()).toBe(true);
});
