// New certificates without a restart: the files are read again on SIGHUP and every minute, and used if they are
// complete and differ. Open connections keep the old certificate.
import { X509Certificate } from 'node:crypto';
import type { Server as HttpsServer } from 'node:https';
import { isIP } from 'node:net';
import type { Log } from '../log.ts';

export interface RenewableTls {
  /** The server's certificate, then its issuers. */
  certPem: string;
  keyPem: string;
  /** Pin of the topmost of them. */
  caPin: string;
}

export interface RenewTlsOptions {
  server: Pick<HttpsServer, 'setSecureContext'>;
  /** The certificate in use. */
  current: RenewableTls;
  /** Reads the certificate again. Throws if it can't be used; the old one then stays in use. */
  load(): Promise<RenewableTls | undefined>;
  log: Log;
  /** Host of the public URL, which certificates should be for. */
  publicHost?: string | undefined;
  /** Told of each new certificate once it is in use. */
  onReplaced?(caPin: string): void;
  /** Told at each look when the certificate in use expires. */
  onExpiry?(validTo: Date): void;
  /** In ms. */
  intervalMs: number;
  /** For tests: the time, in ms. */
  nowMs?: () => number;
}

const dayMs = 24 * 60 * 60 * 1_000;
/** The server's own certificates are renewed earlier, so this is about given ones. */
const warnBeforeMs = 14 * dayMs;

/** Starts watching. Returns a function that ends it. */
export function renewTls(options: RenewTlsOptions): () => Promise<void> {
  const { server, load, log } = options;
  let { current } = options;
  let lastProblem = '';
  let reading: Promise<void> = Promise.resolve();
  const warnOfEnd = onceADay(log, options.nowMs ?? Date.now);
  const warnOfName = onceEach(log, options.publicHost);
  const readAgain = async () => {
    try {
      const tls = await load();
      lastProblem = '';
      if (tls === undefined || (tls.certPem === current.certPem && tls.keyPem === current.keyPem)) return;
      server.setSecureContext({ cert: tls.certPem, key: tls.keyPem });
      const former = current;
      current = tls;
      options.onReplaced?.(tls.caPin);
      log.info('the certificate was replaced; new connections use the new one');
      if (isOfAnotherRoot(tls, former)) {
        log.warn(
          { caPin: tls.caPin, formerCaPin: former.caPin },
          'the certificate is from another CA; agents that pinned the former one refuse this server from their next connection on, until each is told of the new one with use-server',
        );
      }
    } catch (error) {
      // A file that is half written now may be complete at the next look; a lasting problem is reported once.
      const problem = String(error);
      if (problem !== lastProblem)
        log.error({ err: error }, 'the certificate files can’t be used; the certificate in use stays');
      lastProblem = problem;
    }
  };
  const look = () => {
    reading = reading.then(readAgain).then(() => {
      const certificate = new X509Certificate(current.certPem);
      options.onExpiry?.(new Date(certificate.validTo));
      warnOfEnd(certificate.validTo);
      warnOfName(certificate);
    });
  };
  look();
  const timer = setInterval(look, options.intervalMs);
  process.on('SIGHUP', look);
  return async () => {
    clearInterval(timer);
    process.off('SIGHUP', look);
    await reading;
  };
}

/** Whether the former one came with a root, which agents may have pinned, and this one is not of that root. */
function isOfAnotherRoot(tls: RenewableTls, former: RenewableTls): boolean {
  if (tls.caPin === former.caPin) return false;
  const root = topmostOf(former);
  const isFromRoot = (certificate: X509Certificate) =>
    certificate.checkIssued(root) && certificate.verify(root.publicKey);
  return isFromRoot(root) && !isFromRoot(topmostOf(tls));
}

function topmostOf({ certPem }: RenewableTls): X509Certificate {
  return new X509Certificate(certPem.slice(certPem.lastIndexOf('-----BEGIN CERTIFICATE-----')));
}

/** Returns a function that warns, once a day, of a certificate that expires soon or has expired. */
function onceADay(log: Log, nowMs: () => number): (validTo: string) => void {
  let told = '';
  return (validTo) => {
    const leftMs = Date.parse(validTo) - nowMs();
    const about = `${validTo} ${Math.floor(leftMs / dayMs)}`;
    if (leftMs > warnBeforeMs || about === told) return;
    told = about;
    if (leftMs > 0)
      log.warn(
        { validTo },
        'the certificate expires soon; put a renewed one in its place, it is read within a minute',
      );
    else
      log.error(
        { validTo },
        'the certificate has expired, and agents and browsers refuse this server; put a renewed one in its place',
      );
  };
}

/** Returns a function that warns of each certificate that is not for the given host. */
function onceEach(log: Log, host: string | undefined): (certificate: X509Certificate) => void {
  let told = '';
  return (certificate) => {
    const { fingerprint256, subjectAltName } = certificate;
    if (host === undefined || fingerprint256 === told) return;
    told = fingerprint256;
    const name = host.replace(/^\[|\]$/g, '');
    const fits = isIP(name) === 0 ? certificate.checkHost(name) : certificate.checkIP(name);
    if (fits === undefined)
      log.warn(
        { host: name, names: subjectAltName },
        'the certificate is not for the host of --public-url, and agents and browsers refuse it there; correct one of the two',
      );
  };
}
