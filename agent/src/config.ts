// What the environment says. The only file that reads it.
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { ProxySettings } from './connection/proxy.ts';
import { workingDirectory } from './typed-command.ts';

/** Commander reads these for the options of `run`. */
export const maxRssVariable = 'OPSCONDUCTOR_MAX_RSS_MB';
export const maxLoadVariable = 'OPSCONDUCTOR_MAX_LOAD';
export const enrollmentTokenVariable = 'OPSCONDUCTOR_ENROLLMENT_TOKEN';
export const apiTokenVariable = 'OPSCONDUCTOR_API_TOKEN';

export interface Config {
  /** Where the data directory is when nobody names one. */
  defaultDataDirectory: string;
  enrollmentToken: string | undefined;
  /** Of whoever starts runs from here. */
  apiToken: string | undefined;
  /** Of who signs and seals: the roots of segments that they know. */
  defaultRoots: string;
  proxy: ProxySettings;
  logLevel: string;
  /** Where sources of a policy file are that name a variable. */
  environment: NodeJS.ProcessEnv;
}

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
    logLevel: env.OPSCONDUCTOR_LOG_LEVEL ?? 'info',
    environment: env,
  };
}
