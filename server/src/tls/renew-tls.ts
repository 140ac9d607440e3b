// New certificates without a restart: the files are read again on SIGHUP and every minute, and used if they are
// complete and differ. Open connections keep the old certificate.
import type { Server as HttpsServer } from 'node:https';
import type { Log } from '../log.ts';

export interface RenewableTls {
  certPem: string;
  keyPem: string;
}

export interface RenewTlsOptions {
  server: Pick<HttpsServer, 'setSecureContext'>;
  /** The certificate in use. */
  current: RenewableTls;
  /** Reads the certificate again. Throws if it can't be used; the old one then stays in use. */
  load(): Promise<RenewableTls | undefined>;
  log: Log;
  /** In ms. */
  intervalMs: number;
}

/** Starts watching. Returns a function that ends it. */
export function renewTls(options: RenewTlsOptions): () => Promise<void> {
  const { server, load, log } = options;
  let { current } = options;
  let lastProblem = '';
  let reading: Promise<void> = Promise.resolve();
  const readAgain = async () => {
    try {
      const tls = await load();
      lastProblem = '';
      if (tls === undefined || (tls.certPem === current.certPem && tls.keyPem === current.keyPem)) return;
      server.setSecureContext({ cert: tls.certPem, key: tls.keyPem });
      current = tls;
      log.info('the certificate was replaced; new connections use the new one');
    } catch (error) {
      // A file that is half written now may be complete at the next look; a lasting problem is reported once.
      const problem = String(error);
      if (problem !== lastProblem)
        log.error({ err: error }, 'the new certificate can’t be used; the old one stays in use');
      lastProblem = problem;
    }
  };
  const look = () => {
    reading = reading.then(readAgain);
  };
  const timer = setInterval(look, options.intervalMs);
  process.on('SIGHUP', look);
  return async () => {
    clearInterval(timer);
    process.off('SIGHUP', look);
    await reading;
  };
}
