// HAProxy in front of several servers, with the configuration shown in docs/deployment.md.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ensureHaproxy } from './packages.ts';
import { WatchedProcess } from './watched-process.ts';

export interface HaproxyOptions {
  dir: string;
  port: number;
  /** Certificate chain and key in one PEM file. */
  certFile: string;
  /** Ports of the servers on this machine. */
  servers: readonly number[];
}

/**
 * The configuration for a load balancer in front of the servers. A test checks that the documentation shows the same.
 */
export function haproxyConfiguration(bind: string, servers: readonly string[]): string {
  return `defaults
  mode http
  timeout connect 2s
  timeout http-request 15s
  # A check may take this long: a server that is slow for a moment must not go while the others are away.
  timeout check 5s
  # Live streams say something each 15 s, agents each 5 s.
  timeout client 60s
  timeout server 60s
  timeout tunnel 60s
  # A request that could not be delivered goes to another server. One that was delivered is never sent twice.
  retries 3
  option redispatch 1
  retry-on conn-failure

frontend people_and_agents
  bind ${bind}
  option forwardfor
  default_backend servers

backend servers
  balance leastconn
  option httpchk
  http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host localhost
  default-server check inter 500ms fall 1 rise 1
${servers.map((address, n) => `  server s${n + 1} ${address}`).join('\n')}
`;
}

/** Starts HAProxy; resolves when it is listening. */
export async function startHaproxy(options: HaproxyOptions): Promise<{ stop(): Promise<void> }> {
  const program = await ensureHaproxy();
  if ('missing' in program) throw new Error(program.missing);
  const file = join(options.dir, 'haproxy.cfg');
  const bind = `127.0.0.1:${options.port} ssl crt ${options.certFile} alpn http/1.1`;
  const addresses = options.servers.map((port) => `127.0.0.1:${port}`);
  await writeFile(file, haproxyConfiguration(bind, addresses));
  const child = new WatchedProcess({
    command: [program.path, '-db', '-f', file],
    cwd: options.dir,
    env: program.env,
    marks: [file],
  });
  return {
    async stop() {
      await child.killAll();
      await child.ended();
    },
  };
}
