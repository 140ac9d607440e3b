// The server that an agent has pinned sends it slightly wrong frames of each type, generated from a seed. The agent may
// close the connection, but it goes on, says nothing that is not in the protocol, and writes about one line for each
// frame that it refuses. `npm run fuzz -- --mutations 500` tries more of them.
import { type StepOutcome, serverToAgent } from '@opsconductor/protocol';
import { pino } from 'pino';
import { Type } from 'typebox';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { knownStepType } from '../../agent/src/execution/step/known-step-types.ts';
import { type AgentSetup, lease, rendering, setup, success } from '../../agent/src/testing/agent-setup.ts';
import type { FakeConnection } from '../../agent/src/testing/fake-server.ts';
import { Prng } from '../faults/prng.ts';
import { mutated, type Schema, sampleOf } from './mutate.ts';
import { fuzzSettings } from './settings.ts';

const { seed, mutations } = fuzzSettings(process.env);
const logged: { level: number; msg: string; err?: { stack?: string } }[] = [];

let t: AgentSetup;
beforeAll(async () => {
  t = await setup();
  const schema = Type.Object({}, { additionalProperties: true });
  const execute = async (): Promise<StepOutcome> => success;
  await t.start({
    slots: 256,
    stepTypes: new Map([['test.step', knownStepType({ type: 'test.step', execute }, schema)]]),
    log: pino({ level: 'info' }, { write: (line: string) => logged.push(JSON.parse(line)) }),
  });
});
afterAll(() => t?.[Symbol.asyncDispose]());

let nextStep = 1_000_000;
/**
 * Whether the agent still takes a step and ends it; `false` if it closes the connection, or gives the step back, as it
 * does once it was told to drain.
 */
async function works(connection: FakeConnection): Promise<boolean> {
  nextStep += 1;
  const step = nextStep;
  connection.send({ type: 'leases', leases: [lease(step, { rendering: rendering() })] });
  const done = async () => {
    for (;;) {
      const ended = await connection.next('complete');
      const { requestId, step: ofStep, epoch } = ended;
      connection.send({ type: 'completed', requestId, step: ofStep, epoch, result: 'settled' });
      if (ended.step === step) return true;
    }
  };
  const returned = async () => {
    while (!(await connection.next('return')).attempts.some((attempt) => attempt.step === step));
    return false;
  };
  const works = await Promise.race([done(), returned(), connection.closed.then(() => false)]);
  if (!works) connection.cut();
  return works;
}

const types = Object.entries(serverToAgent).filter(
  ([type]) => !['challenge', 'welcome', 'resumed'].includes(type),
);

function goodMessage(type: string, schema: Schema, random: Prng): object {
  const message = { ...(sampleOf(schema, random) as object), type };
  return type === 'leases' && random.chance(0.8)
    ? { ...message, leases: [lease(random.between(1, 50), { rendering: rendering() })] }
    : message;
}

test(`${mutations} slightly wrong frames of each type do not stop the agent (seed ${seed})`, async () => {
  let { connection } = await t.server.nextSession();
  let sent = 0;
  for (const [type, schema] of types) {
    const random = new Prng(seed, type);
    for (let n = 0; n < mutations; n++) {
      const message = mutated(goodMessage(type, schema as Schema, random), schema as Schema, random);
      sent += 1;
      connection.sendText(
        JSON.stringify(random.chance(0.9) ? { ...Object(message), type } : message) ?? 'null',
      );
      if (!(await works(connection))) ({ connection } = await t.server.nextSession());
    }
  }
  expect(await works(connection)).toBe(true);
  expect(errorsLogged()).toEqual([]);
  // A lease that is refused, and a connection that is closed and opened again, have a few lines each.
  expect(logged.length).toBeLessThan(6 * sent + 20);
  connection.cut();
}, 3_600_000);

test('after a slightly wrong handshake the agent comes back, and takes the next one', async () => {
  const random = new Prng(seed, 'handshake');
  for (let n = 0; n < 3 * mutations; n++) {
    const wrong = random.pick(['challenge', 'welcome', 'resumed'] as const);
    const connection = await t.server.nextConnection();
    const { send } = connection;
    connection.send = (message) => {
      if (message.type !== wrong) return send.call(connection, message);
      const text = JSON.stringify(mutated(message, serverToAgent[wrong] as Schema, random));
      connection.sendText(random.chance(0.9) ? (text ?? 'null') : text.repeat(2));
    };
    const greeted = connection.welcome().then(() => connection.next('resume'));
    const resumed = greeted.then(() => connection.send({ type: 'resumed', attempts: [] }));
    await Promise.race([resumed.catch(() => undefined), connection.closed]);
    connection.cut();
  }
  const { connection } = await t.server.nextSession();
  expect(await works(connection)).toBe(true);
  expect(errorsLogged()).toEqual([]);
}, 3_600_000);

/** Each kind of error once, apart from those that say what was refused. */
function errorsLogged(): string[] {
  const errors = logged.filter(
    ({ level, msg }) => level >= 50 && !/^refused (the segment state|a checkpoint)/.test(msg),
  );
  return [...new Set(errors.map(({ msg, err }) => `${msg}: ${err?.stack?.slice(0, 600)}`))].slice(0, 10);
}
