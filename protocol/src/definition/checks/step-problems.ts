// Checks for contradictory or pointless settings of a step, and for its outputs.
import type { ErrorDetail } from '../../api/errors.ts';
import { stepTypes } from '../../api/jobs/jobs.ts';
import { limits } from '../../limits.ts';
import { patternProblems } from '../../parameters/check-parameters.ts';
import { reservedProblem } from '../../parameters/reserved-names.ts';
import { detail, isObject, type LooseDefinition, type LooseStep } from './loose.ts';

/** Returns what is wrong within a step, the `at`-th of its job, from 0. Its schema is checked elsewhere. */
export function stepProblems(step: LooseStep, at: number): ErrorDetail[] {
  const path = `steps[${at}]`;
  return [
    ...afterFailureProblems(step, at, path),
    ...outputProblems(step, path),
    ...readerProblems(step, path),
    ...waitProblems(step, path),
    ...agentEndProblems(step, `${path}.config`),
    ...deleteProblems(step, `${path}.config`),
  ];
}

/** Checks the agent's side of a transfer: a path there, or a file of the server or artifact in its place. */
function agentEndProblems({ type, config }: LooseStep, path: string): ErrorDetail[] {
  if (!isObject(config)) return [];
  const { local_path: localPath, file, artifact, direction } = config;
  if (type === 'sftp.download') {
    if (localPath !== undefined && artifact === true) {
      const message = 'A download goes to one place: leave out `local_path` or `artifact`.';
      return [detail(`${path}.artifact`, message, true, 'one of `local_path` and `artifact`')];
    }
    if (localPath !== undefined || artifact === true) return [];
    const message = 'Is missing: name a path on the agent, or say `artifact: true` to keep it with the run.';
    return [detail(`${path}.local_path`, message, undefined, '`local_path`, or `artifact: true`')];
  }
  if (type !== 'sftp.upload' && type !== 'ssh.copy') return [];
  if (file !== undefined && direction === 'pull') {
    const message =
      'Only with `direction: push` can a file come from the server; leave out `file` or `direction`.';
    return [detail(`${path}.file`, message, file, 'only with `direction: push`')];
  }
  if (localPath !== undefined && file !== undefined) {
    const message = 'A copy comes from one place: leave out `local_path` or `file`.';
    return [detail(`${path}.file`, message, file, 'one of `local_path` and `file`')];
  }
  if (localPath !== undefined || file !== undefined) return [];
  const message =
    'Is missing: name a path on the agent, or, with `file`, a file that was uploaded to the server.';
  return [detail(`${path}.local_path`, message, undefined, '`local_path`, or `file`')];
}

function deleteProblems({ type, config }: LooseStep, path: string): ErrorDetail[] {
  if (type !== 'sftp.sync' || !isObject(config)) return [];
  if (config['delete'] !== true || config['mode'] === 'mirror') return [];
  const message = 'Only a mirror deletes: say `mode: mirror` as well, or leave out `delete`.';
  return [detail(`${path}.delete`, message, true, 'only with `mode: mirror`')];
}

function afterFailureProblems(step: LooseStep, at: number, path: string): ErrorDetail[] {
  const { on_unknown: onUnknown, idempotent, hold_for: holdFor, retry, when_status: when } = step;
  const problems: ErrorDetail[] = [];
  if (onUnknown === 'retry' && idempotent !== true) {
    problems.push(
      detail(
        `${path}.on_unknown`,
        'A step that may have run is run again only if that does no harm: say `idempotent: true` if so, or use `hold` to be asked.',
        onUnknown,
        '`fail` or `hold`; `retry` with `idempotent: true`',
      ),
    );
  }
  if (holdFor !== undefined && onUnknown !== 'hold') {
    const message = 'Has no effect without `on_unknown: hold`.';
    problems.push(detail(`${path}.hold_for`, message, holdFor, 'only with `on_unknown: hold`'));
  }
  const { delay = 10, max_delay: maxDelay = 3_600 } = Object(retry) as {
    delay?: unknown;
    max_delay?: unknown;
  };
  if (typeof delay === 'number' && typeof maxDelay === 'number' && delay > maxDelay) {
    const message = `The first delay, ${delay} s, is already longer.`;
    problems.push(detail(`${path}.retry.max_delay`, message, maxDelay, `${delay} or more`));
  }
  if (at === 0 && when === 'failure') {
    const message = 'There is no earlier step that could fail.';
    problems.push(detail(`${path}.when_status`, message, when, '`success` or `always` for the first step'));
  }
  return problems;
}

/** A target has one protocol, so a job with steps for both could be started on none. */
export function protocolProblems({ steps }: LooseDefinition): ErrorDetail[] {
  const typed = steps.flatMap(({ type }, at) =>
    stepTypes.some((one) => one === type) ? [{ type: String(type), at }] : [],
  );
  const first = typed[0];
  const other = typed.find(({ type }) => isWindows(type) !== isWindows(first?.type ?? ''));
  if (first === undefined || other === undefined) return [];
  const needs = (type: string) => (isWindows(type) ? 'WinRM' : 'SSH');
  const message = `This step needs ${needs(other.type)} and step ${first.at + 1} needs ${needs(first.type)}, but a target is reached by one of them; put these steps into jobs of their own.`;
  const allowed = stepTypes.filter((one) => isWindows(one) === isWindows(first.type));
  return [detail(`steps[${other.at}].type`, message, other.type, allowed.join(', '))];
}

function isWindows(type: string): boolean {
  return type.startsWith('winrm.');
}

/** Each step is given all secrets from before it, to mask them, so there can be only as many as fit in a lease. */
export function secretProblems({ parameters, steps }: LooseDefinition): ErrorDetail[] {
  const isSecret = (one: unknown) => (Object(one) as { secret?: unknown }).secret === true;
  let count = Object.values(Object(parameters)).filter(isSecret).length;
  const places = steps.flatMap(({ outputs }, at) =>
    Object.entries(Object(outputs)).flatMap(([name, output]) =>
      isSecret(output) ? [`steps[${at}].outputs.${name}.secret`] : [],
    ),
  );
  const first = places.find(() => {
    count += 1;
    return count > limits.maxSecretsPerLease;
  });
  if (first === undefined) return [];
  const message = `A job can have at most ${limits.maxSecretsPerLease} secrets, parameters and outputs together; hand on several as one.`;
  return [detail(first, message)];
}

/** A command is read by one program and runs as one user. */
function readerProblems({ config }: LooseStep, path: string): ErrorDetail[] {
  return [...twoReaders(config, path), ...lastingTerminal(config, path), ...twoUsers(config, path)];
}

function lastingTerminal(config: unknown, path: string): ErrorDetail[] {
  const { pty } = Object(config) as { pty?: unknown };
  if (pty !== true || !surviving(config)) return [];
  const message = 'A terminal ends with its connection, and so does the command; leave one of the two out.';
  return [detail(`${path}.config.survive_agent_restart`, message, true, 'only without `pty`')];
}

function twoUsers(config: unknown, path: string): ErrorDetail[] {
  const { run_as, run_as_credential } = Object(config) as { run_as?: unknown; run_as_credential?: unknown };
  if (run_as === undefined || run_as_credential === undefined) return [];
  const message =
    'The command runs either as the system or as the user of a credential; leave one of the two out.';
  return [detail(`${path}.config.run_as_credential`, message, run_as_credential, 'only without `run_as`')];
}

function twoReaders(config: unknown, path: string): ErrorDetail[] {
  const { shell, interpreter } = Object(config) as { shell?: unknown; interpreter?: unknown };
  if (shell === undefined || interpreter === undefined) return [];
  const message = 'The command is read either by a shell or by an interpreter; leave one of the two out.';
  return [detail(`${path}.config.interpreter`, message, interpreter, 'only without `shell`')];
}

const waitedFor = ['port', 'command', 'seconds'];

/** Exactly one thing must be waited for, and fields that belong to another are refused. */
function waitProblems({ type, config }: LooseStep, path: string): ErrorDetail[] {
  if (type !== 'wait_for' || !isObject(config)) return [];
  const here = `${path}.config`;
  const given = waitedFor.filter((name) => config[name] !== undefined);
  if (given.length !== 1) {
    const message =
      given.length === 0
        ? 'Say what it waits for: `port`, `command` or `seconds`.'
        : `A step waits for one thing; use separate steps for ${given.join(' and ')}.`;
    const found = given.length === 0 ? undefined : given.join(', ');
    return [detail(here, message, found, 'one of `port`, `command` and `seconds`')];
  }
  const { seconds, timeout = 300, become, state } = config;
  const problems: ErrorDetail[] = [];
  if (typeof seconds === 'number' && typeof timeout === 'number' && timeout <= seconds) {
    const message = `The step would time out after ${timeout} s, before the wait is over.`;
    problems.push(detail(`${here}.timeout`, message, timeout, `more than ${seconds}`));
  }
  if (become !== undefined && config.command === undefined)
    problems.push(detail(`${here}.become`, 'Only a command runs as a user; leave it out.'));
  if (state !== undefined && config.port === undefined)
    problems.push(detail(`${here}.state`, 'Only a port is open or closed; leave it out.'));
  return problems;
}

function surviving(config: unknown): boolean {
  return (Object(config) as { survive_agent_restart?: unknown }).survive_agent_restart === true;
}

const finders = ['pattern', 'json', 'file'];

function outputProblems({ type, outputs, config }: LooseStep, path: string): ErrorDetail[] {
  if (!isObject(outputs)) return [];
  return Object.entries(outputs).flatMap(([name, output]) => {
    const here = `${path}.outputs.${name}`;
    if (!isObject(output)) return [];
    const problems = reservedProblem(name, here, 'output');
    const given = finders.filter((finder) => output[finder] !== undefined);
    if (given.length !== 1) {
      problems.push(
        detail(
          here,
          given.length === 0
            ? 'Say where its value comes from: `pattern`, `json` or `file`.'
            : `Its value comes from one place; use separate outputs for ${given.join(' and ')}.`,
          given.length === 0 ? undefined : given.join(', '),
          'one of `pattern`, `json` and `file: true`',
        ),
      );
    }
    if (output.file === true && type !== 'ssh.exec' && stepTypes.some((one) => one === type)) {
      const message = `Only a step of type ssh.exec can use a file; find the value with \`pattern\` or \`json\` in what ${type} prints.`;
      problems.push(detail(`${here}.file`, message, true, 'only in ssh.exec'));
    }
    if (output.from !== undefined && output.pattern === undefined) {
      const message = '`from` says where a pattern looks; leave it out.';
      problems.push(detail(`${here}.from`, message, output.from, 'only with `pattern`'));
    }
    if (output.secret === true && output.default !== undefined) {
      const message =
        'A secret can’t have a default, because every version of the job would contain it; leave it out.';
      problems.push(detail(`${here}.default`, message));
    }
    // Such output is kept only by the agent, and is lost with it.
    if (output.secret === true && output.file !== true && surviving(config)) {
      const message =
        'A secret can’t be read from the command’s output with `survive_agent_restart: true`; write it to the file instead.';
      problems.push(detail(`${here}.secret`, message, true, '`file: true`'));
    }
    return [...problems, ...patternProblems(output.pattern, `${here}.pattern`)];
  });
}
