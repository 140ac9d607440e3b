// Converts what surrounds the commands of a Rundeck job: where it runs, how many at a time, when, and who is notified.
import { type JobDefinition, limits, type Strategy } from '@opsconductor/protocol';
import { asBoolean, asList, asObject, asSeconds, asText, type Loose } from './loose.ts';
import type { Report } from './report.ts';

export function convertNodes(job: Loose, report: Report): Strategy | undefined {
  const nodes = asObject(job.nodefilters);
  if (nodes === undefined) {
    report.changed(
      '',
      'Rundeck ran it on its own server; here it runs on targets that are chosen for each run.',
    );
    return undefined;
  }
  const filter = filterText(nodes);
  const where = nodes.filter === undefined ? 'nodefilters' : 'nodefilters.filter';
  report.dropped(
    where,
    `Targets are chosen for each run, not in the job. The filter was: ${filter}. Create a target group with a matching selector.`,
  );
  for (const key of ['filterExclude', 'excludeFilter']) {
    const text = asText(nodes[key] ?? job[key]);
    if (text !== undefined)
      report.dropped(
        `nodefilters.${key}`,
        `Targets to exclude are chosen for each run. The filter was: ${text}.`,
      );
  }
  const dispatch = asObject(nodes.dispatch) ?? {};
  return strategyOf(job, dispatch, report);
}

function filterText(nodes: Loose): string {
  const filter = asText(nodes.filter);
  if (filter !== undefined) return filter;
  const parts = (['include', 'exclude'] as const).flatMap((side) =>
    Object.entries(asObject(nodes[side]) ?? {}).map(
      ([name, value]) => `${side === 'exclude' ? '!' : ''}${name}: ${asText(value) ?? ''}`,
    ),
  );
  return parts.join(' ') || 'all nodes';
}

function strategyOf(job: Loose, dispatch: Loose, report: Report): Strategy {
  const strategy: Strategy = { max_parallel: 1 };
  const threads = asText(dispatch.threadcount ?? dispatch.threadCount);
  if (threads !== undefined) {
    const count = /^\d{1,5}$/.test(threads) ? Number(threads) : 0;
    if (count >= 1 && count <= limits.maxTargetsPerRun) strategy.max_parallel = count;
    else
      report.dropped(
        'nodefilters.dispatch.threadcount',
        `One target at a time: ${threads} can’t be used as a number of targets.`,
      );
  }
  if (asBoolean(dispatch.keepgoing)) strategy.on_exceeded = 'continue';
  else {
    strategy.max_failures = 0;
    strategy.on_exceeded = 'stop';
  }
  const rank = asText(dispatch.rankAttribute);
  if (rank !== undefined && rank !== 'nodename' && rank !== 'name') {
    report.dropped(
      'nodefilters.dispatch.rankAttribute',
      `Targets are not ordered by “${rank}”, but by name.`,
    );
  }
  strategy.order = asText(dispatch.rankOrder) === 'descending' ? 'reverse' : 'name';
  if (asBoolean(dispatch.successOnEmptyNodeFilter)) {
    report.dropped(
      'nodefilters.dispatch.successOnEmptyNodeFilter',
      'A run without targets is refused and does not count as a success.',
    );
  }
  convertOrchestrator(asObject(job.orchestrator), strategy, report);
  return strategy;
}

function convertOrchestrator(orchestrator: Loose | undefined, strategy: Strategy, report: Report): void {
  if (orchestrator === undefined) return;
  const type = asText(orchestrator.type) ?? '';
  const percent = asText(asObject(orchestrator.configuration)?.percent);
  if (type === 'maxPercentage' && percent !== undefined && /^([1-9]\d?|100)$/.test(percent)) {
    strategy.batches = [`${percent}%`];
    report.changed(
      'orchestrator',
      `At most ${percent} % of the targets at a time: they run in batches of that size, one after the other.`,
    );
    return;
  }
  report.dropped(
    'orchestrator',
    `The orchestrator ${type} is left out: targets follow the strategy of the job.`,
  );
}

const aDayS = 86_400;

export function convertTimeout(job: Loose, report: Report): Pick<JobDefinition, 'timeout'> {
  if (asText(job.timeout) === undefined) return {};
  const timeout = timeoutOf(job);
  if (timeout !== undefined) return { timeout };
  report.dropped('timeout', `The timeout ${asText(job.timeout)} is not a fixed duration of at most 30 days.`);
  return {};
}

/** Returns the timeout in seconds. Our steps always have one; Rundeck's have none. */
export function stepTimeout(job: Loose, report: Report): number {
  const timeout = timeoutOf(job);
  if (timeout !== undefined) return Math.min(timeout, maxStepTimeoutS);
  report.changed(
    'sequence',
    'Rundeck waits for a step without a limit; here each step may take up to a day.',
  );
  return aDayS;
}

const maxStepTimeoutS = 604_800;

function timeoutOf(job: Loose): number | undefined {
  const timeout = asSeconds(job.timeout);
  return timeout !== undefined && timeout >= 1 && timeout <= 30 * aDayS ? timeout : undefined;
}

/** Returns the retry settings of each step. */
export function convertRetry(job: Loose, report: Report): { attempts: number; delay?: number } | undefined {
  const { retry } = job;
  if (retry === undefined || retry === null) return undefined;
  const told = asObject(retry) ?? { retry };
  const count = asText(told.retry);
  if (count === undefined || count === '0') return undefined;
  if (!/^\d{1,3}$/.test(count)) {
    report.dropped('retry', `There are no retries: ${count} is not a fixed number.`);
    return undefined;
  }
  const delay = asSeconds(told.delay);
  if (delay === undefined && told.delay !== undefined && told.delay !== null) {
    const written = asText(told.delay) ?? 'of the retry';
    report.dropped('retry.delay', `The delay ${written} is not a fixed duration.`);
  }
  report.changed('retry', 'A failed step is retried on its target, not the job as a whole.');
  return {
    attempts: Math.min(limits.maxTries, Number(count) + 1),
    ...(delay === undefined ? {} : { delay: Math.min(delay, limits.maxRetryDelayS) }),
  };
}

const megabytesOf: Record<string, number> = { G: 1_024, M: 1, K: 1 / 1_024, '': 1 / 1_048_576 };

/** Returns the output limits for each step's configuration. */
export function convertLogLimit(
  job: Loose,
  report: Report,
): { limits?: { output_mb: number }; on_output_limit?: 'stop' | 'truncate' } {
  const limit = asText(job.loglimit);
  if (limit === undefined) return {};
  const [, count, unit] = /^(\d+)\s*([GMK]?)B$/i.exec(limit) ?? [];
  if (count === undefined) {
    report.dropped('loglimit', `Output is limited by size, not by lines: ${limit} is left out.`);
    return {};
  }
  const megabytes = Number(count) * (megabytesOf[(unit ?? '').toUpperCase()] ?? 1);
  report.changed('loglimit', 'The limit applies to each step on each target, not to all output together.');
  const status = asText(job.loglimitStatus);
  if (status !== undefined && status !== 'failed')
    report.dropped('loglimitStatus', `A step with too much output fails; the status ${status} is left out.`);
  return {
    limits: { output_mb: Math.min(4_096, Math.max(1, Math.ceil(megabytes))) },
    on_output_limit: asText(job.loglimitAction) === 'truncate' ? 'truncate' : 'stop',
  };
}

export function tellSchedule(job: Loose, report: Report): void {
  const schedule = asObject(job.schedule);
  if (schedule !== undefined) {
    const { time, month, year, weekday, dayofmonth } = schedule;
    const crontab = asText(schedule.crontab) ?? JSON.stringify({ time, month, dayofmonth, weekday, year });
    const state = 'scheduleEnabled' in job && !asBoolean(job.scheduleEnabled) ? ', and was switched off' : '';
    report.dropped(
      'schedule',
      `Jobs have no schedules here: start it through the API. The schedule was ${crontab}${state}.`,
    );
  }
  for (const [n] of asList(job.schedules).entries()) {
    report.dropped(`schedules[${n}]`, 'Jobs have no schedules here: start it through the API.');
  }
  const zone = asText(job.timeZone);
  if (zone !== undefined) report.dropped('timeZone', `The time zone of its schedule was ${zone}.`);
}

export function tellNotifications(job: Loose, report: Report): void {
  for (const [trigger, value] of Object.entries(asObject(job.notification) ?? {})) {
    for (const [n, one] of asList(value).entries()) {
      const at = Array.isArray(value) ? `notification.${trigger}[${n}]` : `notification.${trigger}`;
      for (const kind of Object.keys(asObject(one) ?? {})) {
        report.dropped(
          `${at}.${kind}`,
          `Jobs send no notifications (${trigger}, ${kind}): follow its runs through the API.`,
        );
      }
    }
  }
  const threshold = asText(job.notifyAvgDurationThreshold);
  if (threshold !== undefined)
    report.dropped('notifyAvgDurationThreshold', 'There are no notifications about long runs.');
}

export function tellRest(job: Loose, report: Report): void {
  const level = asText(job.loglevel);
  if (level !== undefined && level !== 'INFO') {
    report.dropped(
      'loglevel',
      `There are no log levels (it was ${level}): everything that a step prints is kept.`,
    );
  }
  for (const [service, providers] of Object.entries(asObject(job.plugins) ?? {})) {
    for (const provider of Object.keys(asObject(providers) ?? {})) {
      report.dropped(`plugins.${service}.${provider}`, `The plugin ${provider} of the job is left out.`);
    }
  }
}
