// The demo's SSH server as a separate process. Keys and state are files in the given folder, never arguments.
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startDemoSshServer } from './ssh-server.ts';

const [folder = ''] = process.argv.slice(2);
const [hostKey, authorizedKey] = await Promise.all([
  readFile(join(folder, 'host-key'), 'utf8'),
  readFile(join(folder, 'client-key.pub'), 'utf8'),
]);
const stateFile = join(folder, 'ssh-server.json');
// The file may be empty after a power cut.
const wantedPort = await readFile(stateFile, 'utf8')
  .then((text) => (JSON.parse(text) as { port: number }).port)
  .catch(() => undefined);
const start = (port: number | undefined) =>
  startDemoSshServer({ hostKey, authorizedKey, ...(port === undefined ? {} : { port }) });
// Uses the previous port if it is free, so that the target's address stays the same.
const server = await start(wantedPort).catch(() => start(undefined));
const { port, user, account, hostKeyLine } = server;
await writeFile(`${stateFile}.new`, JSON.stringify({ pid: process.pid, port, user, account, hostKeyLine }), {
  mode: 0o600,
});
await rename(`${stateFile}.new`, stateFile);
process.on('SIGTERM', () => {
  void server.close().finally(() => process.exit(0));
});
