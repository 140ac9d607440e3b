// The bare library that the agent is built on, with one file, in its own process, which keeps its connection as an
// agent does. Each message requests a transfer.
import { once } from 'node:events';
import { connect } from 'node:net';
import { Client, type SFTPWrapper } from 'ssh2';

export interface Ssh2Target {
  host: string;
  port: number;
  user: string;
  privateKey: string;
  cipher: string;
}
export interface Ssh2Transfer {
  target: Ssh2Target;
  way: 'put' | 'get';
  from: string;
  to: string;
}

/** The largest and most requests that OpenSSH's server handles at a time without running into a limit. */
const settings = { concurrency: 16, chunkSize: 255 * 1024 };

let kept: Promise<SFTPWrapper> | undefined;

process.on('message', async ({ target, way, from, to }: Ssh2Transfer) => {
  kept ??= open(target);
  const sftp = await kept;
  const startedMs = performance.now();
  await new Promise<void>((resolve, reject) => {
    const done = (error: Error | null | undefined) => (error ? reject(error) : resolve());
    if (way === 'put') sftp.fastPut(from, to, settings, done);
    else sftp.fastGet(from, to, settings, done);
  });
  process.send?.(performance.now() - startedMs);
});
process.on('disconnect', () => process.exit(0));

async function open({ host, port, user, privateKey, cipher }: Ssh2Target): Promise<SFTPWrapper> {
  const client = new Client();
  client.connect({
    sock: connect({ host, port, noDelay: true }),
    username: user,
    privateKey,
    algorithms: { cipher: [cipher as 'aes128-gcm@openssh.com'] },
  });
  await once(client, 'ready');
  return new Promise((resolve, reject) => {
    client.sftp((error, sftp) => (error ? reject(error) : resolve(sftp)));
  });
}
