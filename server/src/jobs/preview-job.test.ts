import { limits } from '@opsconductor/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Authority } from '../auth/authority.ts';
import { setupRuns, type TestRuns } from '../runs/testing.ts';
import { createJob } from './create-job.ts';
import { previewDraft, previewJob } from './preview-job.ts';

let t: TestRuns;
let jobId: number;
let targetId: number;
beforeAll(async () => {
  t = await setupRuns();
  targetId = await t.addTarget();
  ({ id: jobId } = await createJob(t, definition, t.caller));
});
afterAll(() => t?.[Symbol.asyncDispose]());

const definition = {
  name: 'greet',
  parameters: {
    who: { type: 'string', maxLength: 20 },
    count: { type: 'integer', default: 2 },
    token: { type: 'string', secret: true },
  },
  steps: [
    {
      name: 'probe',
      type: 'ssh.exec',
      config: {
        command: 'echo "${{ parameters.who }}" ${{ parameters.count }} "${{ target.name }}"',
        environment: { TOKEN: '${{ parameters.token }}', PLAIN: 'x' },
      },
      outputs: { load: { pattern: '(.*)' } },
    },
    {
      name: 'often',
      type: 'ssh.exec',
      when: 'parameters.count > 5',
      config: { command: 'echo ${{ steps.probe.outputs.load }}' },
    },
    {
      name: 'loaded',
      type: 'ssh.exec',
      when: 'int(steps.probe.outputs.load) > 5',
      config: { command: 'true' },
    },
  ],
};

test('steps are shown with their values, masked secrets, and placeholders for what is not known yet', async () => {
  const parameters = { who: "it's me", token: 'open-sesame' };
  const shown = await previewJob(t, jobId, { parameters, targetId }, t.caller);
  expect(shown.problems).toEqual([]);
  expect(shown.target?.id).toBe(targetId);
  expect(shown.steps).toMatchObject([
    {
      stepNumber: 1,
      when: null,
      runs: true,
      config: {
        command: `echo "it's me" 2 "${shown.target?.name}"`,
        environment: { TOKEN: '********', PLAIN: 'x' },
      },
    },
    {
      when: 'parameters.count > 5',
      runs: false,
      config: { command: 'echo ${{ steps.probe.outputs.load }}' },
    },
    { runs: null, problems: [] },
  ]);
  expect(shown.steps[0]?.values).toContainEqual({ placeholder: '${{ parameters.token }}', secret: true });
  expect(shown.steps[0]?.values).toContainEqual({
    placeholder: '${{ parameters.count }}',
    value: '2',
    secret: false,
  });
  expect(JSON.stringify(shown)).not.toContain('open-sesame');
});

test('what a run would be refused for is reported, without revealing secrets', async () => {
  const parameters = { who: 7, token: ['open-sesame'], other: 1 };
  const shown = await previewJob(t, jobId, { parameters }, t.caller);
  expect(shown.problems.map(({ path }) => path).sort()).toEqual([
    'parameters.other',
    'parameters.token',
    'parameters.who',
  ]);
  expect(shown.steps).toHaveLength(3);
  expect(JSON.stringify(shown)).not.toContain('open-sesame');
  const missing = await previewJob(t, jobId, {}, t.caller);
  expect(missing.problems.map(({ path }) => path)).toEqual(['parameters.who']);
});

test('a definition that is not saved is previewed, or its problems are reported', async () => {
  const parameters = { who: 'x' };
  expect((await previewDraft(t, { definition, parameters }, t.caller)).steps).toHaveLength(3);
  const wrong = {
    ...definition,
    steps: [{ name: 'a', type: 'ssh.exec', config: { command: "sh -c '${{ parameters.who }}'" } }],
  };
  const shown = await previewDraft(t, { definition: wrong, parameters }, t.caller);
  expect(shown.steps).toEqual([]);
  expect(shown.problems).toMatchObject([{ path: 'steps[0].config.command' }]);
});

test('a job or target that the caller may not read is not found', async () => {
  const nobody = { ...t.caller, authority: new Authority([]) };
  await expect(previewJob(t, jobId, {}, nobody)).rejects.toMatchObject({ code: 'not_found' });
  await expect(previewJob(t, jobId, { targetId: 999 }, t.caller)).rejects.toMatchObject({
    code: 'not_found',
  });
});

test('placeholders beyond what a preview can show stay as they are, in all steps together', async () => {
  const command = 'echo "${{ parameters.who }}"\n'.repeat(30);
  const large = {
    name: 'large',
    parameters: { who: { type: 'string' } },
    steps: Array.from({ length: 40 }, (_, at) => ({ name: `s${at}`, type: 'ssh.exec', config: { command } })),
  };
  const parameters = { who: 'a'.repeat(limits.maxParameterCharacters) };
  const { steps, problems } = await previewDraft(t, { definition: large, parameters }, t.caller);
  expect(problems).toEqual([]);
  expect(steps.flatMap((step) => step.problems)).toEqual([]);
  expect(steps[0]?.config).toMatchObject({ command: expect.stringContaining(`echo "${parameters.who}"`) });
  expect(steps.at(-1)?.config).toMatchObject({ command });
  const shown = steps.map(({ config }) => JSON.stringify(config)).join('');
  expect(shown.length).toBeLessThan(limits.maxFilledInCharacters + 200_000);
});
