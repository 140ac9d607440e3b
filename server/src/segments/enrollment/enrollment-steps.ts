// The shell commands that a person pastes on a new agent's machine, which has POSIX sh, curl, sha256sum and node. The
// hash in the first command came over the console's connection, so the download itself needs no trust.
import type { EnrollmentTokenReply } from '@opsconductor/protocol';
import { isLoopback } from '../../config/read-tls.ts';

type Steps = EnrollmentTokenReply['steps'];

export const agentDownloadPath = '/agent.mjs';

export function enrollmentSteps(options: {
  publicUrl: string;
  /** Lowercase hex. */
  agentSha256: string;
  /** Whether the machine does not trust the server's certificate yet; the token's CA pin makes the agent trust it. */
  privateCa: boolean;
}): Steps {
  const url = options.publicUrl.replace(/\/+$/, '');
  const curl = `curl -fsSL${options.privateCa ? 'k' : ''}`;
  const download =
    `${curl} -o agent.mjs.new ${shellQuote(url + agentDownloadPath)} && ` +
    `echo '${options.agentSha256}  agent.mjs.new' | sha256sum -c - && mv agent.mjs.new agent.mjs`;
  // With umask and a new file, the token is never readable by others, and it is never on a command line.
  const save = '(umask 077; rm -f enrollment-token; head -n 1 > enrollment-token)';
  return [
    {
      title:
        'Fetch the agent and check it. The machine needs Node.js 20.19 or newer, or the executable that “npm run package:agent” makes.',
      command: download,
      takesToken: false,
    },
    { title: 'Run this, paste the token, press Enter', command: save, takesToken: true },
    {
      title: 'Enroll this machine',
      command: `node agent.mjs enroll --server ${shellQuote(url)} --token-file enrollment-token`,
      takesToken: false,
    },
    {
      title: 'Start the agent. It runs until this terminal is closed',
      command: 'node agent.mjs run',
      takesToken: false,
    },
  ];
}

/** Returns what keeps the commands from working on another machine than the server's, or `undefined`. */
export function enrollmentCaution(publicUrl: string): string | undefined {
  const { hostname } = new URL(publicUrl);
  if (!isLoopback(hostname.replace(/^\[(.*)\]$/, '$1'))) return undefined;
  return `The commands lead to ${hostname}, so they work on the server’s own machine only. To add agents on other machines, start the server with --listen and --public-url.`;
}

function shellQuote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
