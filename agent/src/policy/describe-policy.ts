// Describes a policy in sentences, for `policy check`.
import type { AgentPolicy } from './agent-policy.ts';
import { hoursText } from './hours.ts';
import { runsAsSshExec } from './policy-guard.ts';
import { defaultMaxGrantHours, type RequireGrant, type SourceRule } from './policy-schema.ts';
import { sourceBounds } from './source-rules.ts';

/** Returns what a policy allows, line by line. */
export function describePolicy({ fileRoots, rules = {} }: AgentPolicy): string[] {
  const { step_types, targets = {}, users, hours, parallelism, insecure_transports } = rules;
  const { hosts, networks, ports } = targets;
  const listed = (values: readonly (string | number)[] | undefined, otherwise: string) =>
    values === undefined ? otherwise : values.length === 0 ? 'none' : values.join(', ');
  const allowed = (rule: boolean | undefined) => (rule === false ? 'refused' : 'allowed');
  return [
    `step types             ${listed(step_types, 'all')}`,
    ...commandText(step_types),
    `hosts                  ${listed(hosts, 'all')}`,
    `networks               ${listed(networks, 'all')}`,
    `ports                  ${listed(ports, 'all')}`,
    `users                  ${listed(users, 'all')}`,
    `hours                  ${hours === undefined ? 'always' : hoursText(hours)}`,
    `steps at a time        ${parallelism ?? 'as the agent is started with (--slots)'}`,
    `raw splices            ${allowed(rules.raw_splices)}`,
    `survive_agent_restart  ${allowed(rules.survive_agent_restart)}`,
    `secrets by their form  ${rules.detect_secrets === true ? 'masked' : 'as the job or the server says'}`,
    `become                 ${listed(rules.become, 'all')}`,
    ...signedText(rules.require_grant),
    `insecure transports    ${listed(insecure_transports, 'ssh_legacy, winrm_http, winrm_basic')}`,
    ...(rules.ticket_caches ?? []).map(({ name, path }) => `ticket cache           ${name} (${path})`),
    ...(rules.sources ?? []).map((source) => `source                 ${sourceText(source)}`),
    ...(fileRoots.length === 0 ? ['files                  none'] : []),
    ...fileRoots.map(
      ({ path, mayWrite }) => `files                  ${path} (${mayWrite ? 'read and write' : 'read'})`,
    ),
  ];
}

/** What a reader could wrongly take for allowed by the listed types. */
function commandText(types: readonly string[] | undefined): string[] {
  if (types === undefined || types.includes('ssh.exec')) return [];
  const named = types.filter((type) => runsAsSshExec.has(type));
  if (named.length === 0) return [];
  return [`                       ${named.join(' and ')} without a command, which needs ssh.exec`];
}

/** How a signer's key is kept, which is where it signs. */
const signedWhere = { cli: 'on the command line', browser: 'in a browser' } as const;

function signedText(rule: RequireGrant | undefined): string[] {
  if (rule === undefined) return ['signed runs            not required'];
  const { signers, one_agent: oneAgent, max_hours: maxHours = defaultMaxGrantHours } = rule;
  const audience = oneAgent === true ? 'for this agent alone' : 'for any agent of the segment';
  return signers.map(
    ({ name, public_key: key, classes = ['cli'] }) =>
      `signed runs only       by ${name} ${classes.map((one) => signedWhere[one]).join(' or ')} (${key}), ${audience}, for ${maxHours} h at most`,
  );
}

function sourceText(source: SourceRule): string {
  const { hosts, networks, ports, user, authentication } = sourceBounds(source);
  const from = [source.file, source.environment && `$${source.environment}`, source.command?.join(' ')].find(
    (one) => one !== undefined,
  );
  const places = [hosts.join(', '), networks.join(', ')].filter((one) => one !== '').join(' in ');
  return `${source.name} (${from}) for ${user} on ${places}, port ${ports.join(', ')}, by ${authentication.join(', ')}`;
}
