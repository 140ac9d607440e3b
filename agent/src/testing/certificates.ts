// A CA and a server certificate from it, made with openssl.
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface Certificates {
  caPem: string;
  caPath: string;
  key: string;
  /** Server certificate and CA, as a server presents them. */
  chain: string;
}

/** @param name subject of the server certificate: `IP:127.0.0.1`, `DNS:other.example`. */
export async function makeCertificates(folder: string, name: string, days = 10): Promise<Certificates> {
  const at = (file: string) => join(folder, file);
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  await run('openssl', [
    'req',
    '-x509',
    ...key,
    '-keyout',
    at('ca.key'),
    '-out',
    at('ca.pem'),
    '-days',
    '10',
    '-subj',
    '/CN=Test CA',
  ]);
  await run('openssl', [
    'req',
    '-new',
    ...key,
    '-keyout',
    at('server.key'),
    '-out',
    at('server.csr'),
    '-subj',
    '/CN=server',
  ]);
  await writeFile(at('san'), `subjectAltName=${name}\n`);
  const from = ['-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial', '-extfile', at('san')];
  await run('openssl', [
    'x509',
    '-req',
    '-in',
    at('server.csr'),
    ...from,
    '-days',
    String(days),
    '-out',
    at('server.pem'),
  ]);
  const [caPem, server, serverKey] = await Promise.all(
    ['ca.pem', 'server.pem', 'server.key'].map((file) => readFile(at(file), 'utf8')),
  );
  return { caPem: caPem ?? '', caPath: at('ca.pem'), key: serverKey ?? '', chain: `${server}${caPem}` };
}
