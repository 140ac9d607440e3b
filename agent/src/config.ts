// What the environment says. Only this file reads it.
import { homedir } from 'node:os';
import { join } from 'node:path';
import { workingDirectory } from './command-line/typed-command.ts';
import type { ProxySettings } from './connection/proxy.ts';

/** Commander reads these for the options of `run`. */
export const maxRssVariable = 'OPSCONDUCTOR_MAX_RSS_MB';
export const maxLoadVariable = 'OPSCONDUCTOR_MAX_LOAD';
export const enrollmentTokenVariable = 'OPSCONDUCTOR_ENROLLMENT_TOKEN';
export const apiTokenVariable = 'OPSCONDUCTOR_API_TOKEN';

export interface Config {
  /** The data directory if nobody names one. */
  defaultDataDirectory: string;
  enrollmentToken: string | undefined;
  /** API token of the person who starts runs from here. */
  apiToken: string | undefined;
  /** File of the segment roots known to the person who signs and seals. */
  defaultRoots: string;
  proxy: ProxySettings;
  logLevel: string;
  /** The variables that sources of a policy file may name. */
  environment: NodeJS.ProcessEnv;
}

/** Reads what the environment says, for all of the agent. */
export function readConfig(): Config {
  const { env } = process;
  const isRoot = process.getuid?.() === 0;
  return {
    defaultDataDirectory: isRoot
      ? '/var/lib/opsconductor-agent'
      : join(workingDirectory() ?? '', 'opsconductor-agent'),
    enrollmentToken: env.OPSCONDUCTOR_ENROLLMENT_TOKEN,
    apiToken: env.OPSCONDUCTOR_API_TOKEN,
    defaultRoots: join(env.XDG_CONFIG_HOME ?? join(homedir(), '.config'), 'opsconductor/roots.json'),
    proxy: {
      httpsProxy: env.HTTPS_PROXY ?? env.https_proxy,
      noProxy: env.NO_PROXY ?? env.no_proxy,
    },
    logLevel: env.OPSCONDUCTOR_LOG_LEVEL || 'info',
    environment: env,
  };
}
