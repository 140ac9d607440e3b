// New certificates without a restart: read again on SIGHUP and every minute, taken when they are whole and differ.
// Connections that are open keep the old one.
import type { Server as HttpsServer } from 'node:https';
import type { Log } from '../log.ts';

export interface RenewableTls {
  certPem: string;
  keyPem: string;
}

export interface RenewTlsOptions {
  server: Pick<HttpsServer, 'setSecureContext'>;
  /** What is in use. */
  current: RenewableTls;
  /** Reads the certificate anew; throws for one that can't be used, which leaves the old one in use. */
  load(): Promise<RenewableTls | undefined>;
  log: Log;
  /** ms */
  intervalMs: number;
}

/** Starts watching; the answer ends it. */
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
      log.info('new connections use the new certificate');
    } catch (error) {
      // A file half written now may be whole at the next look; what stays wrong is told of once.
      const problem = String(error);
      if (problem !== lastProblem)
        log.error({ err: error }, 'the new certificate can’t be used; the old one stays');
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
