// Encryption of the connection to PostgreSQL, as the parameters of DATABASE_URL ask for it. They have libpq's names, so
// that psql and pg_dump take the same URL.
import { X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { createSecureContext, type SecureContextOptions } from 'node:tls';

export interface DatabaseTls {
  mode: 'off' | 'prefer' | 'require' | 'verify';
  /** Path of the CA certificates that are trusted in place of the system's. */
  rootCertificate?: string | undefined;
  /** Paths of what the server shows of itself; both or none. */
  certificate?: string | undefined;
  key?: string | undefined;
}

/** A file that DATABASE_URL names can't be used. The message names the parameter and the fix. */
export class DatabaseTlsError extends Error {
  override readonly name = 'DatabaseTlsError';
}

const parameters = { rootCertificate: 'sslrootcert', certificate: 'sslcert', key: 'sslkey' } as const;
/** libpq's word for the CAs that the machine knows anyway. */
const systemRoots = 'system';
const others = 0o077;
const othersButGroup = 0o037;

/**
 * Reads `sslmode` (or `ssl`), `sslrootcert`, `sslcert` and `sslkey` of a database URL. Stricter than libpq where that
 * would not check a certificate although a CA is named.
 */
export function tlsOf(url: string): DatabaseTls {
  const { searchParams } = new URL(url);
  const pathOf = (name: string) => searchParams.get(name) || undefined;
  const root = pathOf(parameters.rootCertificate);
  const mode = modeOf(searchParams.get('sslmode') ?? searchParams.get('ssl') ?? undefined);
  return {
    mode: root !== undefined && (mode === undefined || mode === 'require') ? 'verify' : (mode ?? 'off'),
    rootCertificate: root === systemRoots ? undefined : root,
    certificate: pathOf(parameters.certificate),
    key: pathOf(parameters.key),
  };
}

function modeOf(text: string | undefined): DatabaseTls['mode'] | undefined {
  if (text === undefined) return undefined;
  if (text === 'disable' || text === 'false') return 'off';
  if (text === 'prefer' || text === 'allow') return 'prefer';
  return text === 'require' ? 'require' : 'verify';
}

/** Returns the URL without what only `tlsOf` reads: the driver would send it to the database as a setting. */
export function withoutTlsFiles(url: string): string {
  const rest = new URL(url);
  const named = Object.values(parameters).filter((name) => rest.searchParams.has(name));
  for (const name of named) rest.searchParams.delete(name);
  return named.length === 0 ? url : rest.href;
}

/** Whether connections cross a network unencrypted, and the URL doesn't say that this is wanted. */
export function isPlainByDefault(url: string): boolean {
  const { hostname, searchParams } = new URL(url);
  const isNear = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(hostname) || hostname === '';
  const isSaid = searchParams.has('sslmode') || searchParams.has('ssl') || tlsOf(url).mode !== 'off';
  return !isNear && !isSaid;
}

/** Returns what is wrong with the TLS parameters of a valid database URL, for people; `undefined` if nothing is. */
export function tlsProblem(url: string): string | undefined {
  const tls = tlsOf(url);
  const { searchParams } = new URL(url);
  const named = Object.values(parameters).find((name) => searchParams.has(name));
  if (named === undefined) return undefined;
  if (tls.mode === 'off' || tls.mode === 'prefer')
    return `${named} has no use with sslmode=${searchParams.get('sslmode') ?? 'disable'}: write sslmode=verify-full`;
  const missing = tls.certificate === undefined ? 'certificate' : 'key';
  if ((tls.certificate === undefined) !== (tls.key === undefined))
    return `${parameters[missing]} is missing: sslcert and sslkey belong together`;
  try {
    readTlsFiles(tls);
    return undefined;
  } catch (error) {
    if (error instanceof DatabaseTlsError) return error.message;
    throw error;
  }
}

/**
 * Reads the files for a new connection, each time: they may have been renewed since the last one.
 *
 * @throws {DatabaseTlsError}
 */
export function readTlsFiles({ rootCertificate, certificate, key }: DatabaseTls): SecureContextOptions {
  const ca = rootCertificate === undefined ? undefined : readCertificates('rootCertificate', rootCertificate);
  if (certificate === undefined || key === undefined) return ca === undefined ? {} : { ca };
  const own = { cert: readCertificates('certificate', certificate), key: readKey(key) };
  try {
    createSecureContext(own);
  } catch (error) {
    throw new DatabaseTlsError(
      `sslkey: ${key} is not the key of the certificate in ${certificate} (${saidBy(error)})`,
    );
  }
  return ca === undefined ? own : { ...own, ca };
}

function readCertificates(what: 'rootCertificate' | 'certificate', path: string): string {
  const text = readText(parameters[what], path);
  try {
    new X509Certificate(text);
  } catch {
    throw new DatabaseTlsError(`${parameters[what]}: ${path} has no certificate in PEM format`);
  }
  return text;
}

function readKey(path: string): string {
  const text = readText(parameters.key, path);
  const { mode, uid } = statSync(path);
  // As libpq has it: a key of root's may be read by a group, through which the server gets it.
  if ((mode & (uid === 0 ? othersButGroup : others)) !== 0) {
    throw new DatabaseTlsError(
      `sslkey: others can read ${path}; let only the server's user: chmod 600 (640 if the file is root's)`,
    );
  }
  try {
    createSecureContext({ key: text });
  } catch (error) {
    throw new DatabaseTlsError(
      `sslkey: ${path} has no private key in PEM format without a passphrase (${saidBy(error)})`,
    );
  }
  return text;
}

function readText(parameter: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new DatabaseTlsError(`${parameter}: ${path} can't be read (${saidBy(error)})`);
  }
}

function saidBy(error: unknown): string {
  const { code, message } = error as { code?: string; message: string };
  return code ?? message;
}
