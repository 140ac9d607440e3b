// The options of every command of the owner's program that talks to a server.
import type { Command } from 'commander';
import { apiTokenVariable, type Config } from '../config.ts';
import { ApiClient } from '../start-run/api-client.ts';
import { readApiToken } from '../start-run/read-given.ts';

export interface ServerOptions {
  server: string;
  tokenFile?: string;
  caPin?: string;
  caFile?: string;
}

export function withServerOptions(command: Command): Command {
  return command
    .requiredOption('--server <url>', 'address of the server: https://…')
    .option(
      '--token-file <path>',
      `file with an API token; - for standard input; otherwise ${apiTokenVariable} is used`,
    )
    .option('--ca-pin <pin>', "sha256:… of the CA of the server's certificate")
    .option('--ca-file <path>', 'PEM of the CA to trust instead');
}

/** @throws {AgentError} */
export async function connectApi(options: ServerOptions, config: Config): Promise<ApiClient> {
  const { server, tokenFile, caPin, caFile } = options;
  const token = await readApiToken(tokenFile, config.apiToken);
  return ApiClient.connect({ server, caPin, caFile, proxy: config.proxy, token });
}
