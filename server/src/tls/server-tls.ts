// The server's own certificate authority: agents pin its key, people import ca.pem.
import {
  createPrivateKey,
  type KeyObject,
  X509Certificate as NodeCertificate,
  randomBytes,
} from 'node:crypto';
import { chmod, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileDurably } from '../database/durable-file.ts';
import { makeFolder } from '../make-folder.ts';
import { pinOfCertificate } from './certificate-pin.ts';
import { alternativeNames } from './host-names.ts';
import {
  type CertificateAuthority,
  generateKey,
  isFor,
  issueCaCertificate,
  issueServerCertificate,
  keyToPem,
  readCertificate,
  type X509Certificate,
} from './issue-certificate.ts';
import { TlsError } from './tls-error.ts';

const dayMs = 24 * 60 * 60 * 1000;
const renewServerBeforeMs = 30 * dayMs;
/** Ensures that the authority always outlives the server certificates that it signs. */
const renewCaBeforeMs = 400 * dayMs;

export interface ServerTls {
  /** What the server presents: its certificate, then the authority's. */
  certPem: string;
  keyPem: string;
  caPem: string;
  /** See {@link pinOfCertificate}. */
  caPin: string;
}

/**
 * Returns the certificate for the given DNS names and IP addresses, localhost, 127.0.0.1 and ::1, signed by a private
 * CA that is created on the first call. The certificate is reissued when the names change or fewer than 30 days are
 * left; the CA's key, and with it `caPin`, stays the same. Cheap enough to call daily.
 *
 * @throws {TlsError} naming the file that is wrong.
 */
export async function loadOrCreateServerTls(options: {
  directory: string;
  hostNames: string[];
  now?: Date;
}): Promise<ServerTls> {
  const { directory, hostNames, now = new Date() } = options;
  const names = alternativeNames(hostNames);
  await makeFolder(directory, 0o700, 'Choose another data directory with --data.');
  const authority = await loadOrCreateAuthority(directory, now);
  const caPem = toPem(authority.certificate);
  const certPath = join(directory, 'server.pem');
  const keyPath = join(directory, 'server.key');

  const certPem = await readText(certPath);
  const keyPem = await readPrivateText(keyPath);
  const usable = certPem !== undefined && keyPem !== undefined && isUsable(certPem, keyPem, authority, now);
  if (usable && (await isFor(certPem, names))) {
    return { certPem, keyPem, caPem, caPin: pinOfCertificate(caPem) };
  }
  const key = generateKey();
  const issued = await issueServerCertificate(authority, key, names, now);
  const fresh = { certPem: toPem(issued) + caPem, keyPem: keyToPem(key) };
  // A crash between the two writes leaves a pair that doesn't match, which the next call replaces.
  await writeFileDurably(keyPath, fresh.keyPem, 0o600);
  await writeFileDurably(certPath, fresh.certPem, 0o644);
  return { ...fresh, caPem, caPin: pinOfCertificate(caPem) };
}

/** Whether our own files hold a matching pair that the authority signed, that is valid now and has enough time left. */
function isUsable(certPem: string, keyPem: string, authority: CertificateAuthority, now: Date): boolean {
  try {
    const certificate = new NodeCertificate(certPem);
    const issuer = new NodeCertificate(toPem(authority.certificate));
    return (
      certPem.endsWith(toPem(authority.certificate)) &&
      certificate.checkPrivateKey(createPrivateKey(keyPem)) &&
      certificate.verify(issuer.publicKey) &&
      isCurrent(certificate, now, renewServerBeforeMs)
    );
  } catch {
    return false;
  }
}

function isCurrent(certificate: NodeCertificate, now: Date, remainingMs: number): boolean {
  const from = Date.parse(certificate.validFrom);
  const to = Date.parse(certificate.validTo);
  return from <= now.getTime() && to - now.getTime() >= remainingMs;
}

async function loadOrCreateAuthority(directory: string, now: Date): Promise<CertificateAuthority> {
  const keyPath = join(directory, 'ca.key');
  const certPath = join(directory, 'ca.pem');
  const caPem = await readText(certPath);
  const found = caPem === undefined ? undefined : parseCertificate(caPem, certPath);
  const key = await loadOrCreateCaKey(keyPath, certPath, found);
  if (found !== undefined && isCurrent(found, now, renewCaBeforeMs)) {
    return { key, certificate: await readCertificate(found.raw) };
  }
  const subject =
    found === undefined
      ? `CN=OpsConductor CA ${randomBytes(4).toString('hex')}`
      : (await readCertificate(found.raw)).subject;
  const certificate = await issueCaCertificate(key, subject, now);
  await writeFileDurably(certPath, toPem(certificate), 0o644);
  return { key, certificate };
}

async function loadOrCreateCaKey(
  keyPath: string,
  certPath: string,
  certificate: NodeCertificate | undefined,
): Promise<KeyObject> {
  const advice =
    `Restore ${keyPath} from your backup. Only to begin with a new certificate authority (every agent ` +
    `must then be told, with use-server) remove both it and ${certPath}.`;
  const pem = await readPrivateText(keyPath);
  if (pem === undefined) {
    if (certificate !== undefined)
      throw new TlsError(`${keyPath} is missing but ${certPath} is there. ${advice}`);
    const key = generateKey();
    await writeFileDurably(keyPath, keyToPem(key), 0o600);
    return key;
  }
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (cause) {
    throw new TlsError(`${keyPath} is damaged. ${advice}`, { cause });
  }
  if (certificate !== undefined && !certificate.checkPrivateKey(key)) {
    throw new TlsError(`${keyPath} is not the key of ${certPath}. ${advice}`);
  }
  return key;
}

function parseCertificate(pem: string, path: string): NodeCertificate {
  try {
    return new NodeCertificate(pem);
  } catch (cause) {
    throw new TlsError(
      `${path} is damaged. Restore it from your backup, or remove it: it is made again for the same key.`,
      { cause },
    );
  }
}

function toPem(certificate: X509Certificate): string {
  return `${certificate.toString('pem').trim()}\n`;
}

/** Restoring a backup may have made the key readable by others. */
async function readPrivateText(path: string): Promise<string | undefined> {
  const text = await readText(path);
  if (text !== undefined) await chmod(path, 0o600);
  return text;
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
