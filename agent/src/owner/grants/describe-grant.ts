// Describes what a grant allows to the person who is asked to sign it: all of it, and nothing that a terminal could
// take for a command. The server that wrote the draft may be hostile.
import type { JobDefinition } from '@opsconductor/protocol';
import type { GrantDraft, GrantedTarget } from '@opsconductor/protocol/grants';
import { stringify } from 'yaml';
import { visible } from '../../command-line/visible.ts';

/** Returns what an owner is asked to sign, line by line. */
export function describeGrant(draft: GrantDraft, { from, until }: { from: Date; until: Date }): string[] {
  const { job, installationId, startedBy, parameters, targets } = draft;
  const { name, steps, ...settings } = draft.definition as JobDefinition;
  const secrets = [...new Set(targets.flatMap((target) => target.secrets.map(({ name }) => name)))];
  return [
    `Job          ${name}: job ${job.id}, version ${job.version}`,
    `Checksum     ${job.checksum}`,
    `Installation ${installationId}`,
    `Started by   ${startedBy}`,
    `From         ${from.toISOString()}`,
    `Until        ${until.toISOString()}`,
    ...headed('Parameters', Object.keys(parameters).length === 0 ? ['none'] : yamlLines(parameters)),
    ...headed('Secrets', secrets.length === 0 ? ['none'] : secrets.map((name) => `${name} (sealed)`)),
    ...headed('Settings of the job', Object.keys(settings).length === 0 ? ['none'] : yamlLines(settings)),
    ...headed('Steps, in this order', steps.flatMap(describeStep)),
    ...headed(`Targets: ${targets.length}`, targets.flatMap(describeTarget)),
  ].map(visible);
}

function describeStep({ name, type, ...rest }: JobDefinition['steps'][number], index: number): string[] {
  const lines = yamlLines(rest);
  return [`${index + 1}. ${name} (${type})`, ...lines.map((line) => `   ${line}`)];
}

/** Everything that is signed about the target, since placeholders can put parts of it into commands. */
function describeTarget({ segment, segmentId, agentId, os, labels, reaches }: GrantedTarget): string[] {
  const agent = agentId === undefined ? 'any agent' : `agent ${agentId} alone`;
  const named = reaches[0]?.target.name ?? '';
  const ways = reaches.map(({ target, steps, ...opens }) => {
    const { id: _, name, ...place } = target;
    return reaches.length === 1
      ? yamlLines({ ...place, ...opens })
      : [`steps ${steps.join(', ')}:`, ...yamlLines({ name, ...place, ...opens })];
  });
  return [
    `${named}, by ${agent} of segment ${segment} (${segmentId})`,
    ...[...yamlLines({ os, labels }), ...ways.flat()].map((line) => `   ${line}`),
  ];
}

function headed(title: string, lines: readonly string[]): string[] {
  return ['', title, ...lines.map((line) => `  ${line}`)];
}

function yamlLines(value: unknown): string[] {
  return stringify(value, { lineWidth: 0 }).trimEnd().split('\n');
}
