// Reads whether and how this server uses TLS, and checks that its public URL agrees.
import type { Config } from '../config.ts';
import type { Flags } from './flags.ts';
import type { SettingReader } from './setting-reader.ts';
import { readableFileOf } from './setting-values.ts';

/** Returns the certificate and key to serve with; undefined without TLS. */
export function readTls(
  flags: Flags,
  read: SettingReader,
  where: { behindTlsProxy: boolean; isLoopback: boolean },
): Config['tls'] {
  const certFile = read.text(
    { flag: '--tls-cert', variable: 'OPSCONDUCTOR_TLS_CERT', given: flags.tlsCert },
    readableFileOf,
    'a file that can be read',
  );
  const keyFile = read.text(
    { flag: '--tls-key', variable: 'OPSCONDUCTOR_TLS_KEY', given: flags.tlsKey },
    readableFileOf,
    'a file that can be read',
  );
  const wantsTls = read.flag('OPSCONDUCTOR_TLS', flags.tls) ?? false;
  if ((certFile === undefined) !== (keyFile === undefined)) {
    read.problems.push(
      '--tls-cert and --tls-key: only one of them is given and usable; allowed: both, or neither',
    );
  }
  if (where.behindTlsProxy && (wantsTls || certFile !== undefined)) {
    read.problems.push(
      '--behind-tls-proxy: found together with --tls or --tls-cert; allowed: either the proxy’s TLS or that of this server',
    );
  }
  if (where.behindTlsProxy) return { mode: 'off' };
  if (certFile !== undefined && keyFile !== undefined) return { mode: 'files', certFile, keyFile };
  // Beyond loopback, plain HTTP is not offered: tokens and passwords would cross the network readable.
  return wantsTls || !where.isLoopback ? { mode: 'private_ca' } : { mode: 'off' };
}

/** Adds a problem if the scheme of the public URL is not the one that browsers reach this server by. */
export function checkPublicUrl(publicUrl: string | undefined, isHttps: boolean, problems: string[]): void {
  if (publicUrl === undefined || publicUrl.startsWith('https:') === isHttps) return;
  problems.push(
    `--public-url: found ${JSON.stringify(publicUrl)}; allowed here: ${isHttps ? 'https' : 'http'}, as ${isHttps ? 'browsers reach this server over TLS' : 'this server has no TLS; leave it out to reach the server from this machine only, or give --tls, --tls-cert and --tls-key, or --behind-tls-proxy'}`,
  );
}

/** Returns whether only this machine can connect. */
export function isLoopback(address: string): boolean {
  return address === 'localhost' || address === '::1' || /^127\.\d+\.\d+\.\d+$/.test(address);
}

/** Returns whether a server with these settings is meant for the person at this machine only. */
export function isForThisMachine({
  listen,
  publicUrl,
  behindTlsProxy,
}: Pick<Config, 'listen' | 'publicUrl' | 'behindTlsProxy'>): boolean {
  const host = publicUrl === undefined ? listen.address : new URL(publicUrl).hostname.replace(/^\[|\]$/g, '');
  return isLoopback(listen.address) && isLoopback(host) && !behindTlsProxy;
}
