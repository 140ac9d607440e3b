// An SSH server that costs next to nothing, so that a client's own cost shows. One process serves all connections, and
// a /bin/sh started in advance runs each command, because starting one takes Node longer than everything else about a
// connection. Started by fanout.ts, which tells it by message to drop all connections and prepare new shells.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import ssh2 from 'ssh2';
import { ed25519KeyPair } from '../test/support/key-pairs.ts';

const host = ed25519KeyPair();
const client = ed25519KeyPair();
const clientKey = ssh2.utils.parseKey(client.public);
if (clientKey instanceof Error) throw clientKey;
const open = new Set<ssh2.Connection>();
const stockSize = Number(process.argv[2]);
const stock: ChildProcessWithoutNullStreams[] = [];

const server = new ssh2.Server({ hostKeys: [host.private] }, (connection) => {
  open.add(connection);
  connection.on('close', () => open.delete(connection));
  connection.on('error', () => connection.end());
  connection.on('authentication', (context) => {
    if (context.method !== 'publickey') return context.reject(['publickey']);
    if (!context.key.data.equals(clientKey.getPublicSSH())) return context.reject();
    const isRight =
      context.signature === undefined ||
      clientKey.verify(context.blob ?? Buffer.alloc(0), context.signature, context.hashAlgo) === true;
    return isRight ? context.accept() : context.reject();
  });
  connection.on('session', (accept) => {
    accept().on('exec', (acceptExec, _reject, { command }) => execute(acceptExec(), command));
  });
});

/** Reads one command from its first line; the lines after it are the command's input. */
function startShell(): ChildProcessWithoutNullStreams {
  return spawn('/bin/sh', ['-c', 'IFS= read -r command && eval "$command"'], { stdio: 'pipe' });
}

async function fillStock(): Promise<void> {
  while (stock.length < stockSize) {
    const shell = startShell();
    stock.push(shell);
    await once(shell, 'spawn');
  }
}

function execute(channel: ssh2.ServerChannel, command: string): void {
  if (command.includes('\n')) throw new Error(`more than one line: ${command}`);
  const child = stock.shift() ?? startShell();
  child.stdin.write(`${command}\n`);
  channel.pipe(child.stdin);
  child.stdin.on('error', () => {});
  channel.on('error', () => {});
  child.stdout.pipe(channel, { end: false });
  child.stderr.pipe(channel.stderr, { end: false });
  child.on('close', (code) => {
    channel.exit(code ?? 255);
    channel.end();
  });
}

await fillStock();
server.listen(0, '0.0.0.0');
await once(server, 'listening');
const { port } = server.address() as AddressInfo;
process.send?.({ port, privateKey: client.private, hostKeyLine: host.public.trim() });
process.on('message', async () => {
  await Promise.all(
    [...open].map((connection) => {
      connection.end();
      return once(connection, 'close');
    }),
  );
  await fillStock();
  process.send?.('dropped');
});
process.on('disconnect', () => process.exit(0));
