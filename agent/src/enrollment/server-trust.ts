// Decides whom an agent trusts from its enrollment on: one CA, known by its pin or its file.
import { AgentError } from '../agent-error.ts';
import { readGivenText } from '../command-line/read-given-text.ts';
import { bareHost, isLoopback, type ProxySettings } from '../connection/proxy.ts';
import { explainReachError } from '../explain-error.ts';
import { pinOf, presentedRoot, readCertificates } from './server-certificate.ts';

export interface TrustOptions {
  server: URL;
  /** `sha256:<hex>` as given to the command. */
  caPin: string | undefined;
  /** The pin inside the enrollment token. */
  tokenPin: string | undefined;
  caFile: string | undefined;
  proxy: ProxySettings;
}

/** Parses and checks the base URL of a server: https, or http to this machine itself. */
export function parseServerUrl(text: string): URL {
  let url: URL;
  try {
    url = new URL(text);
  } catch (cause) {
    const fix = 'Write it with its scheme: https://ops.example.com.';
    throw new AgentError(`${text} is not the address of a server.`, fix, { cause });
  }
  const isHttp = url.protocol === 'https:' || url.protocol === 'http:';
  if (isHttp && url.href !== `${url.origin}/`) throw hasMore(url);
  if (url.protocol === 'https:') return url;
  if (isHttp && isLoopback(bareHost(url))) return url;
  throw new AgentError(
    `${text} is refused: an agent speaks plain HTTP to its own machine only.`,
    'Use the https:// address of the server.',
  );
}

/** What would not be used is refused: whoever gave it means it. The message repeats no credentials. */
function hasMore(url: URL): AgentError {
  const fix = `A server has an address of its own, without a path: ${url.origin}.`;
  if (url.username !== '' || url.password !== '') {
    return new AgentError(
      'The address of --server has a user name or a password in it, which no server asks for.',
      `${fix} Tokens go into files or variables; --help names them.`,
    );
  }
  const end = url.href.slice(url.origin.length);
  return new AgentError(`The address of --server ends with ${end}, which would not be used.`, fix);
}

/**
 * Returns the PEM of the CA to trust. Returns undefined for plain HTTP, and if nobody named a CA so that the system's
 * CAs are trusted.
 *
 * @throws {AgentError} if the server does not show the CA that was named.
 */
export async function establishTrust(options: TrustOptions): Promise<string | undefined> {
  const { server, caPin, tokenPin, caFile, proxy } = options;
  if (server.protocol !== 'https:') {
    refuseUselessTrust(caPin, caFile);
    return undefined;
  }
  if (caPin !== undefined && !/^sha256:[0-9a-f]{64}$/i.test(caPin)) {
    throw new AgentError(
      `${caPin} is not a CA pin.`,
      'A pin is "sha256:" and 64 hex digits, as the console shows it.',
    );
  }
  if (caFile !== undefined) return await readCaFile(caFile, caPin);
  const pins = [caPin?.toLowerCase(), tokenPin].filter((pin) => pin !== undefined);
  if (pins.length === 0) return undefined;
  const root = await presentedRoot(server, proxy).catch((error: unknown) => {
    throw explainReachError(error, server.origin, proxy);
  });
  const found = pinOf(root);
  const wrong = pins.find((pin) => pin !== found);
  if (wrong !== undefined) {
    throw new AgentError(
      `${server.origin} is not the server that the ${wrong === tokenPin ? 'token' : '--ca-pin'} names: its CA has pin ${found}, expected ${wrong}.`,
      'Check the address. If there is an intercepting proxy in between on purpose, give its CA with --ca-file.',
    );
  }
  // OpenSSL considers a chain complete only if it ends in a self-signed certificate.
  if (!root.checkIssued(root)) {
    throw new AgentError(
      `${server.origin} does not send its root certificate, only intermediates.`,
      'Save the root certificate on this machine and give it with --ca-file.',
    );
  }
  return root.toString();
}

/** Whoever names a CA expects it to be checked, but over plain HTTP the server shows no certificate. */
function refuseUselessTrust(caPin: string | undefined, caFile: string | undefined): void {
  const given = caPin === undefined ? (caFile === undefined ? undefined : '--ca-file') : '--ca-pin';
  if (given === undefined) return;
  throw new AgentError(
    `${given} has no effect over plain HTTP: the server shows no certificate there.`,
    `Use the https:// address of the server, or leave ${given} out.`,
  );
}

async function readCaFile(path: string, caPin: string | undefined): Promise<string> {
  const pem = await readGivenText(path).catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new AgentError(`The CA file can't be read: ${why}.`, 'Check the path given with --ca-file.', {
      cause,
    });
  });
  const certificates = readCertificates(pem);
  if (certificates.length === 0) {
    throw new AgentError(
      `${path} holds no certificate.`,
      'A CA file is PEM: it begins with -----BEGIN CERTIFICATE-----.',
    );
  }
  const found = certificates.map(pinOf);
  if (caPin !== undefined && !found.includes(caPin.toLowerCase())) {
    throw new AgentError(
      `${path} does not hold the CA that --ca-pin names: it has ${found.join(', ')}, expected ${caPin.toLowerCase()}.`,
      'Give the file of the right CA, or leave one of the two options out.',
    );
  }
  return certificates.map(String).join('');
}
