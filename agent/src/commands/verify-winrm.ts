// `opsconductor-agent winrm-verify`: tries a WinRM host without a server, and says what is ready for steps and what is
// not.
import { lookup } from 'node:dns/promises';
import { builtInPort, type WinrmAuthentication, type WinrmTransport } from '@opsconductor/protocol';
import { AgentError } from '../agent-error.ts';
import { readGivenText } from '../command-line/read-given-text.ts';
import { verifyHost } from '../winrm/checks/verify-host.ts';
import { WinrmPool } from '../winrm/connection/pool.ts';
import type { Login } from '../winrm/login/login.ts';
import { WinrmError } from '../winrm/winrm-error.ts';

export interface VerifyWinrm {
  host: string;
  port?: number;
  transport: WinrmTransport;
  authentication: WinrmAuthentication;
  user: string;
  passwordFile: string;
  principal?: string;
  caFile?: string;
  insecure: boolean;
}

/**
 * Prints a line for each check.
 *
 * @returns whether everything is as it should be.
 */
export async function verifyWinrm(options: VerifyWinrm, print: (line: string) => void): Promise<boolean> {
  const { host, transport } = options;
  const port = options.port ?? builtInPort({ protocol: 'winrm', winrm_transport: transport });
  const password = await readPassword(options.passwordFile);
  const ca = options.caFile === undefined ? undefined : [await read(options.caFile, '--ca-file')];
  const tls = transport === 'http' ? {} : { tls: { insecure: options.insecure, ...(ca && { ca }) } };
  const login = loginOf(options, password);
  const pool = new WinrmPool();
  const connections = pool.of(
    {
      host,
      port,
      login,
      ...tls,
      addressesOf: async (name) => (await lookup(name, { all: true })).map(({ address }) => address),
    },
    '',
  );
  let isGood = true;
  try {
    for await (const { what, ok, found, isNews } of verifyHost(connections)) {
      isGood &&= ok;
      print(`${ok ? 'ok  ' : 'FAIL'}  ${what}${ok && isNews !== true ? '' : `: ${found}`}`);
    }
  } catch (error) {
    if (!(error instanceof WinrmError)) throw error;
    throw new AgentError(error.message, error.advice, { cause: error });
  } finally {
    await pool.close();
  }
  return isGood;
}

function loginOf({ authentication, user, principal }: VerifyWinrm, password: string): Login {
  if (authentication !== 'kerberos') return { method: authentication, user, password };
  return {
    method: 'kerberos',
    user,
    from: { password },
    ...(principal === undefined ? {} : { principal }),
  };
}

/** Never from the command line, which everyone on the machine can read. */
async function readPassword(source: string): Promise<string> {
  const content = await read(source === '-' ? process.stdin : source, '--password-file');
  return content.replace(/\r?\n$/, '');
}

async function read(source: Parameters<typeof readGivenText>[0], option: string): Promise<string> {
  return readGivenText(source).catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new AgentError(`The file of ${option} can't be read: ${why}.`, 'Check the path.', { cause });
  });
}
