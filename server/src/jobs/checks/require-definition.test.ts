import { afterAll, beforeAll, expect, it } from 'vitest';
import { AppError } from '../../errors.ts';
import { createJob } from '../create-job.ts';
import { setupJobs, step, type TestJobs } from '../testing.ts';
import { saveJob } from '../versions/save-job.ts';
import { checkSave } from './check-save.ts';

let t: TestJobs;
beforeAll(async () => {
  t = await setupJobs();
});
afterAll(() => t.close());

async function refusalOf(work: Promise<unknown>): Promise<AppError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof AppError)) throw new Error(`was not refused: ${error}`);
  return error;
}

const author = () => t.callerWith({ role: 'author', permission: null, scope: { kind: 'category', id: 1 } });
const elsewhere = { category: 'nowhere', connection: { credential: 'absent' } };
const pathsOf = ({ details }: AppError) => details.map(({ path }) => path).sort();

it('an invalid definition is also refused for problems of its name, category and credentials', async () => {
  const job = await t.create({ name: 'taken' });
  const own = await t.create({ name: 'own' });
  const definition = { name: 'taken', ...elsewhere, steps: [step('ask', { command: '' })] };
  const all = ['category', 'connection.credential', 'name', 'steps[0].config.command'];
  expect(pathsOf(await refusalOf(createJob(t, definition, author())))).toEqual(all);
  expect(pathsOf(await refusalOf(saveJob(t, own.id, { definition, expectedVersion: 1 }, author())))).toEqual(
    all,
  );
  const { valid, problems } = await checkSave(t, definition, author());
  expect([valid, problems.map(({ path }) => path).sort()]).toEqual([false, all]);
  // Fields that already have a problem are not reported twice, and the job's own name is not taken.
  const same = { definition: { ...definition, name: 'taken', category: ' ' }, expectedVersion: 1 };
  expect(pathsOf(await refusalOf(saveJob(t, job.id, same, author())))).toEqual([
    'category',
    'connection.credential',
    'steps[0].config.command',
  ]);
});

it('a valid one is refused with all problems of the place where it is saved', async () => {
  await t.create({ name: 'held' });
  const definition = { name: 'held', ...elsewhere, steps: [step('ask')] };
  const refused = await refusalOf(createJob(t, definition, author()));
  expect(refused.code).toBe('invalid');
  expect(pathsOf(refused)).toEqual(['category', 'connection.credential', 'name']);
  expect(pathsOf(await refusalOf(createJob(t, { ...definition, category: 'general' }, t.caller)))).toEqual([
    'name',
  ]);
});

it('a credential that does not exist yet is a warning to callers who may use all, and an error to others', async () => {
  const definition = {
    name: 'early',
    steps: [{ ...step('ask'), connection: { credential: 'to-come' } }],
  };
  const told = [{ path: 'steps[0].connection.credential', severity: 'warning', found: 'to-come' }];
  expect(await checkSave(t, definition, t.caller)).toMatchObject({ valid: true, problems: told });
  expect(await checkSave(t, definition, author())).toMatchObject({
    valid: false,
    problems: [{ ...told[0], severity: 'error' }],
  });
  const created = await createJob(t, definition, t.caller);
  expect(created.warnings).toMatchObject(told);
  const changed = { definition: { ...definition, timeout: 9 }, expectedVersion: 1 };
  expect((await saveJob(t, created.id, changed, t.caller)).warnings).toMatchObject(told);
});
