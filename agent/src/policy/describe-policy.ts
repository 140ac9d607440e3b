// A policy in sentences, for `policy check`.
import type { AgentPolicy } from './agent-policy.ts';
import { hoursText } from './hours.ts';

export function describePolicy({ fileRoots, rules = {} }: AgentPolicy): string[] {
  const { step_types, targets = {}, users, hours, parallelism, insecure_transports } = rules;
  const { hosts, networks, ports } = targets;
  const listed = (values: readonly (string | number)[] | undefined, otherwise: string) =>
    values === undefined ? otherwise : values.length === 0 ? 'none' : values.join(', ');
  const allowed = (rule: boolean | undefined) => (rule === false ? 'refused' : 'allowed');
  return [
    `step types             ${listed(step_types, 'all')}`,
    `hosts                  ${listed(hosts, 'all')}`,
    `networks               ${listed(networks, 'all')}`,
    `ports                  ${listed(ports, 'all')}`,
    `users                  ${listed(users, 'all')}`,
    `hours                  ${hours === undefined ? 'always' : hoursText(hours)}`,
    `steps at a time        ${parallelism ?? 'as the agent is started with (--slots)'}`,
    `raw splices            ${allowed(rules.raw_splices)}`,
    `survive_agent_restart  ${allowed(rules.survive_agent_restart)}`,
    `become                 ${listed(rules.become, 'all')}`,
    `insecure transports    ${listed(insecure_transports, 'ssh_legacy, winrm_http, winrm_basic')}`,
    ...(rules.ticket_caches ?? []).map(({ name, path }) => `ticket cache           ${name} (${path})`),
    ...(fileRoots.length === 0 ? ['files                  none'] : []),
    ...fileRoots.map(
      ({ path, mayWrite }) => `files                  ${path} (${mayWrite ? 'read and write' : 'read'})`,
    ),
  ];
}
