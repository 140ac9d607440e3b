// The mock API's answers for the editor: a job with parameters, and saves that are checked as the server checks them.
import { checkDefinition, type Job, type JobDefinition, type Parameters } from '@opsconductor/protocol';

const parameters: Parameters = {
  ticket: { type: 'string', pattern: '^CHG-[0-9]{5}$', description: 'The change that this belongs to' },
  channel: { type: 'string', enum: ['security', 'all'], default: 'security' },
  reboot: { type: 'string', enum: ['never', 'if_required', 'always'] },
  hosts_down: { type: 'integer', minimum: 0, maximum: 20, default: 2, title: 'Hosts down at a time' },
  notify: { type: 'array', items: { type: 'string', format: 'email' }, required: false },
  window: {
    type: 'object',
    required: false,
    properties: { from: { type: 'string', format: 'time' }, minutes: { type: 'integer', minimum: 5 } },
  },
  maintenance_window_reference: { type: 'string', description: 'As the calendar of the plant names it' },
  proxy_password: { type: 'string', secret: true },
};

const apply = [
  'set -eux',
  'printf %s "${{ parameters.proxy_password }}" | proxy-login',
  'logger -t patch "start ${{ parameters.ticket }}"',
  'apt-get -q update',
  'apt-get -qy -o Dpkg::Options::=--force-confold dist-upgrade',
  'reboot-helper --policy "${{ parameters.reboot }}"',
  '',
].join('\n');

export function editedJob<J extends Job>(job: J): J {
  if (job.id !== 1) return job;
  const steps = job.definition.steps.map((step) =>
    step.name === 'apply' ? { ...step, config: { ...Object(step.config), command: apply } } : step,
  );
  return { ...job, definition: { ...job.definition, parameters, steps } };
}

interface Answer {
  status: number;
  body: unknown;
}

function refused(definition: unknown): Answer | undefined {
  const details = checkDefinition(definition);
  if (details.length === 0) return undefined;
  const message = `The job definition has ${details.length} problems.`;
  return { status: 400, body: { error: { code: 'invalid', message, requestId: 'req_7f3c91ae', details } } };
}

export function createAnswer(body: Record<string, unknown>, like: Job | undefined): Answer {
  const definition = body.definition ?? body;
  return refused(definition) ?? { status: 201, body: { ...like, definition } };
}

export function saveAnswer(job: Job, body: Record<string, unknown>, conflicts: boolean): Answer {
  const { definition } = body as { definition: JobDefinition };
  const wrong = refused(definition);
  if (wrong !== undefined) return wrong;
  if (!conflicts || body.expectedVersion !== job.version) {
    return {
      status: 200,
      body: { job: { ...job, definition, version: job.version + 1 }, isNewVersion: true, message: 'Saved.' },
    };
  }
  const theirs = structuredClone(editedJob(job).definition);
  theirs.description = 'Drains, updates and verifies web hosts; no snapshots since the new array';
  const [drain] = theirs.steps;
  if (drain !== undefined) drain.config = { ...Object(drain.config), timeout: 120 };
  const error = {
    code: 'conflict',
    message: 'Another version was saved meanwhile.',
    requestId: 'req_7f3c91ae',
    conflict: {
      expectedVersion: job.version,
      theirs: {
        version: job.version + 1,
        createdBy: 'grace',
        createdAt: new Date(Date.now() - 240_000).toISOString(),
        note: 'no snapshots any more',
        definition: theirs,
      },
    },
  };
  return { status: 409, body: { error } };
}
