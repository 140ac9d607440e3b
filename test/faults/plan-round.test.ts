import { expect, test } from 'vitest';
import { AimChooser, aimText, allEdges, hostEdges, parseAim, wantedEdges } from './choose-aim.ts';
import { faultKinds, type Moment, planRound } from './plan-round.ts';
import { shapeNames, shapeOf } from './shapes/shapes.ts';

test('a round is the same each time, and differs for a different number or seed', () => {
  expect(planRound(1, 2)).toEqual(planRound(1, 2));
  expect(planRound(1, 2)).not.toEqual(planRound(1, 3));
  expect(planRound(1, 2)).not.toEqual(planRound(2, 2));
});

test('every round has 50 steps and three faults, and in a hundred rounds every kind occurs', () => {
  const plans = Array.from({ length: 100 }, (_, at) => planRound(7, at));
  for (const { runs, faults } of plans) {
    expect(runs.reduce((sum, { targets, steps }) => sum + targets * steps.length, 0)).toBeGreaterThanOrEqual(
      50,
    );
    expect(faults.length).toBeGreaterThanOrEqual(3);
  }
  const kinds = new Set(plans.flatMap(({ faults }) => faults.map(({ kind }) => kind)));
  expect([...kinds].sort()).toEqual([...faultKinds].sort());
});

test('in ten rounds, hosts are cancelled alone and together, once and again, by force and not', () => {
  const runs = Array.from({ length: 10 }, (_, at) => planRound(7, at)).flatMap((plan) => plan.runs);
  const cancels = runs.map((run) => run.hostCancels);
  for (const { targets, hostCancels } of runs)
    for (const { host } of hostCancels) expect(host).toBeLessThan(targets);
  const hosts = cancels.map((each) => new Set(each.map(({ host }) => host)).size);
  expect(new Set(hosts)).toEqual(new Set([0, 1, 2]));
  expect(cancels.some((each, at) => each.length > (hosts[at] ?? 0))).toBe(true);
  expect(new Set(cancels.flat().map(({ isForced }) => isForced))).toEqual(new Set([true, false]));
  expect(runs.some(({ steps }) => steps.some(({ hangsOn }) => hangsOn.length > 0))).toBe(true);
});

test('only the requested kinds are planned', () => {
  const { faults } = planRound(1, 1, { only: ['network-cut'] });
  expect(new Set(faults.map(({ kind }) => kind))).toEqual(new Set(['network-cut']));
});

test('an aimed round is the same each time, and contains what its aim requires', () => {
  const aim = parseAim('late:clock-stepped,server-killed');
  const plan = planRound(1, 2, { aim });
  expect(plan).toEqual(planRound(1, 2, { aim }));
  expect(plan.faults.map(({ kind }) => kind)).toEqual([
    ...Array(3).fill('agent-stopped'),
    ...Array(5).fill('clock-stepped'),
    ...Array(2).fill('server-killed'),
  ]);
  expect(
    plan.runs.reduce((sum, { targets, steps }) => sum + targets * steps.length, 0),
  ).toBeGreaterThanOrEqual(50);
  expect(parseAim(aimText(aim))).toEqual(aim);
  expect(() => parseAim('late:nothing')).toThrow('SHAPE:FAULT');
});

test('every shape leads only through existing changes', () => {
  const known = [...allEdges, ...hostEdges];
  for (const name of shapeNames) expect(known).toEqual(expect.arrayContaining([...shapeOf(name).edges]));
  // What a host goes through is a change of a target run.
  expect(allEdges).toEqual(
    expect.arrayContaining(hostEdges.map((edge) => edge.replace('host', 'target_run'))),
  );
});

test('what a shape requires is over before the aimed faults begin, so that its end does not undo them', () => {
  const plusMsOf = (moment: Moment) => {
    const { plusMs = 0, ...of } = { plusMs: 0, ...moment };
    return { plusMs, of: JSON.stringify(of) };
  };
  for (const name of shapeNames) {
    const { helpers, moment } = shapeOf(name);
    const aimed = plusMsOf(moment);
    const lasting = helpers.flatMap(({ until }) => (until === undefined ? [] : plusMsOf(until)));
    expect(lasting.filter(({ of, plusMs }) => of === aimed.of && plusMs >= aimed.plusMs)).toEqual([]);
  }
});

test('a round aims at the rarest meetings, at others if that adds nothing, and at nothing once all are met', () => {
  const full = Object.fromEntries(
    faultKinds.map((kind) => [kind, Object.fromEntries(wantedEdges.map((edge) => [edge, 20]))]),
  );
  expect(new AimChooser(full).next()).toBeUndefined();
  const gap = structuredClone(full);
  Object.assign(gap['clock-stepped'] ?? {}, { 'step held>ready': 3, 'step ready>timed_out': 19 });
  const chooser = new AimChooser(gap);
  expect(chooser.next()).toEqual({ shape: 'held', faults: ['clock-stepped'] });
  const shapes = Array.from({ length: 8 }, () => chooser.next()?.shape);
  expect(new Set(shapes)).toEqual(new Set(['held', 'late-start']));
  const other = new AimChooser(gap);
  other.add({ 'clock-stepped': { 'step held>ready': 17 } });
  expect(other.next()).toEqual({ shape: 'late-start', faults: ['clock-stepped'] });
});

test('a shape limited to some faults is never aimed at others', () => {
  const edges = shapeOf('held-cancelled-at-once').edges;
  const allBut = (missing: string) =>
    Object.fromEntries(
      faultKinds.map((kind) => [
        kind,
        Object.fromEntries(
          wantedEdges.map((edge) => [edge, kind === missing && edges.includes(edge) ? 0 : 20]),
        ),
      ]),
    );
  const shapesAt = (fault: string) => {
    const chooser = new AimChooser(allBut(fault));
    return Array.from({ length: 10 }, () => chooser.next()?.shape);
  };
  expect(shapesAt('database-restored')).toContain('held-cancelled-at-once');
  expect(new Set(shapesAt('database-cut'))).toEqual(new Set(['held-untold']));
});

test('at most one of a round’s faults keeps the whole database from working', () => {
  const still = [
    'postgres-killed',
    'postgres-stopped',
    'database-outage',
    'database-restored',
    'standby-promoted',
  ];
  const chooser = new AimChooser({});
  const aims = Array.from({ length: 20 }, () => chooser.next());
  for (const aim of aims) expect(aim?.faults.filter((kind) => still.includes(kind)).length).toBeLessThan(2);
  expect(new Set(aims.flatMap((aim) => aim?.faults ?? [])).size).toBeGreaterThan(15);
});
