// Secrets that are kept on this machine: where each is, and where it may be used.
import {
  boundAuthentications,
  boundProtocols,
  boundsProblems,
  type CredentialBounds,
} from '@opsconductor/protocol/sealing';
import type { SourceRule } from './policy-schema.ts';

/** Ways that reveal the password to a host: allowed only if the bounds name them. */
const onlyNamed: readonly string[] = ['basic', 'run_as'];

export function sourceBounds({ bounds }: SourceRule): CredentialBounds {
  const {
    hosts = [],
    networks = [],
    ports,
    user,
    protocols = [...boundProtocols],
    authentication = boundAuthentications.filter((one) => !onlyNamed.includes(one)),
  } = bounds;
  return { hosts, networks, ports, user, protocols, authentication };
}

/** Returns problems that the schema can't express, except in sources that the schema refuses. */
export function sourceProblems(
  sources: readonly (SourceRule | undefined)[],
): { path: string; message: string }[] {
  const names = sources.map((source) => source?.name);
  return sources.flatMap((source, at) => {
    if (source === undefined) return [];
    const { name, file, environment, command, pass_environment, timeout_s, keep_s } = source;
    const problem = (path: string, message: string) => ({ path: `sources[${at}]${path}`, message });
    const given = [file, environment, command].filter((one) => one !== undefined).length;
    const ofCommands = { pass_environment, timeout_s, keep_s };
    const program = command?.[0];
    return [
      ...(names.indexOf(name) < at ? [problem('.name', 'appears twice')] : []),
      ...(given === 1 ? [] : [problem('', 'must have one of file, environment and command')]),
      ...(program === undefined || program.startsWith('/')
        ? []
        : [problem('.command[0]', 'must be the path of a program, such as /usr/bin/vault')]),
      ...Object.entries(ofCommands)
        .filter(([, value]) => value !== undefined && command === undefined)
        .map(([field]) => problem(`.${field}`, 'is only for a command')),
      ...boundsProblems(sourceBounds(source)).map(({ path, message }) => problem(`.bounds.${path}`, message)),
    ];
  });
}
