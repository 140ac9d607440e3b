// Explains to the operator why a server can't start on the database that DATABASE_URL names.
import { sqlState } from './connection.ts';
import { isDatabaseLost } from './database-lost.ts';
import { DatabaseTlsError } from './driver/database-tls.ts';

/** The message says what is in the way and what to do about it. */
export class DatabaseRefusalError extends Error {
  override readonly name = 'DatabaseRefusalError';
}

interface Address {
  /** Host and port. */
  server: string;
  host: string;
  user: string;
  database: string;
}

const check = 'Check DATABASE_URL';

/** Messages by SQLSTATE that PostgreSQL answered with. */
const answers: Readonly<Record<string, (at: Address, said: string) => string>> = {
  '28P01': (at) =>
    `PostgreSQL at ${at.server} refused the password of user "${at.user}". ${check}; characters like @ : / # % in a password are written as %40 and so on.`,
  '28000': (at, said) =>
    `PostgreSQL at ${at.server} does not let user "${at.user}" in: ${said}. ${refusedBy(said)} pg_hba.conf there.`,
  '3D000': (at) =>
    `PostgreSQL at ${at.server} has no database "${at.database}". ${check}, or make it: create database "${at.database}" owner "${at.user}".`,
  '42501': (at, said) =>
    `User "${at.user}" may not do in database "${at.database}" what the schema needs: ${said}. Make that user its owner: alter database "${at.database}" owner to "${at.user}".`,
  '3F000': (at, said) =>
    `Database "${at.database}" has no schema in which user "${at.user}" could make tables: ${said}. Make one: create schema public authorization "${at.user}".`,
  '53300': (at, said) =>
    `PostgreSQL at ${at.server} has no connection left: ${said}. Raise max_connections, or end some.`,
  '57P03': (at, said) => `PostgreSQL at ${at.server} does not take connections yet: ${said}. Try again.`,
  '25006': (at) =>
    `PostgreSQL at ${at.server} takes no changes: it is a standby, or default_transaction_read_only is on. ${check}: it must name the primary.`,
};

/** Messages by the system's error code of a failed connection. */
const ways: Readonly<Record<string, (at: Address, said: string) => string>> = {
  ECONNREFUSED: (at) =>
    `Nothing listens at ${at.server}. ${check}, and that PostgreSQL runs and listens on that address.`,
  ENOTFOUND: (at) => `The name ${at.host} is not known. ${check}, and the name servers of this machine.`,
  EAI_AGAIN: (at) => `No name server answers for ${at.host}. ${check}, and the name servers of this machine.`,
  ERR_TLS_CERT_ALTNAME_INVALID: (at, said) =>
    `The certificate of PostgreSQL at ${at.server} is for another name: ${said}. DATABASE_URL has to name the host as its certificate does.`,
};

function refusedBy(said: string): string {
  if (said.includes('no encryption'))
    return 'If it wants TLS, add ?sslmode=verify-full to DATABASE_URL; otherwise see';
  if (said.includes('client certificate')) return 'Name one with sslcert and sslkey in DATABASE_URL, or see';
  return `${check}, and`;
}

/** Codes of certificates that no CA known here vouches for. */
const untrusted = /^(UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|CERT_(UNTRUSTED|SIGNATURE_))/;

/** Codes of what PostgreSQL says in TLS itself of the certificate that it was shown. */
const certificateRefused =
  /^ERR_SSL_.*ALERT_(UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE_|UNSUPPORTED_CERTIFICATE)/;

/**
 * Returns the error to report after the first statements on the database at `url` failed; other errors are returned
 * unchanged. `url` is `undefined` for the embedded database, whose address nobody typed.
 */
export function databaseRefusal(error: unknown, url: string | undefined): unknown {
  if (!(error instanceof Error)) return error;
  if (url === undefined) return isDatabaseLost(error) ? embeddedLost(error) : error;
  const at = addressOf(url);
  const answer = answers[sqlState(error) ?? ''];
  if (answer !== undefined) return new DatabaseRefusalError(answer(at, wholly(error)), { cause: error });
  if (!isDatabaseLost(error)) return error;
  return new DatabaseRefusalError(explainLoss(at, error), { cause: error });
}

function explainLoss(at: Address, error: Error): string {
  const code = String((error as { code?: unknown }).code);
  const said = withoutDot(error.message);
  const way = ways[code];
  if (way !== undefined) return way(at, said);
  if (error.cause instanceof DatabaseTlsError) return `DATABASE_URL: ${said}.`;
  if (certificateRefused.test(code)) {
    return `PostgreSQL at ${at.server} refuses the certificate that sslcert in DATABASE_URL names: ${said}. It has to be signed by a CA in the file of ssl_ca_file there, and in time.`;
  }
  if (untrusted.test(code)) {
    return `The certificate of PostgreSQL at ${at.server} is not trusted here: ${said}. Name a file with the CA of the database in DATABASE_URL: sslrootcert=/path/of/ca.pem.`;
  }
  return `PostgreSQL at ${at.server} could not be reached: ${said}. ${check}.`;
}

function embeddedLost(cause: Error): Error {
  return new DatabaseRefusalError(
    'The embedded database ended while its schema was being made. Its postgres.log in the data directory says why. Start again: unfinished work is repeated.',
    { cause },
  );
}

/** Never includes the password, because the result is printed. */
function addressOf(url: string): Address {
  const { hostname, port, username, pathname } = new URL(url);
  const user = decodeURIComponent(username);
  return {
    server: `${hostname}:${port === '' ? '5432' : port}`,
    host: hostname,
    user,
    database: decodeURIComponent(pathname.slice(1)) || user,
  };
}

/** Adds PostgreSQL's detail and hint to its message; they may contain the actual reason. */
function wholly(error: Error & { detail?: string; hint?: string }): string {
  const beside = [error.detail, error.hint].filter((text) => text !== undefined).map(withoutDot);
  return beside.length === 0 ? error.message : `${error.message} (${beside.join('. ')})`;
}

function withoutDot(text: string): string {
  return text.replace(/\.$/, '');
}
