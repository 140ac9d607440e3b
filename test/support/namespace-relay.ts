// Runs inside a network namespace, for a test outside of it. Prints `ready` when it is listening.
//   socket <path> <host> <port>   forwards connections of a Unix socket to a TCP address
//   proxy <host> <port>           an HTTP proxy that supports only CONNECT, and prints the target of each connection
import { createServer as createHttpServer } from 'node:http';
import { connect, createServer, type Socket } from 'node:net';

const [mode, ...args] = process.argv.slice(2);
const say = (line: string) => process.stdout.write(`${line}\n`);

function splice(a: Socket, b: Socket): void {
  a.pipe(b).pipe(a);
  for (const [one, other] of [
    [a, b],
    [b, a],
  ] as const) {
    one.on('error', () => other.destroy());
    one.on('close', () => other.destroy());
  }
}

if (mode === 'socket') {
  const [path = '', host = '', port = ''] = args;
  createServer((from) => splice(from, connect(Number(port), host))).listen(path, () => say('ready'));
} else {
  const [host = '', port = ''] = args;
  const proxy = createHttpServer((_request, response) => response.writeHead(405).end());
  proxy.on('connect', (request, from: Socket, head: Buffer) => {
    const { hostname, port: wanted } = new URL(`http://${request.url}`);
    say(`CONNECT ${request.url}`);
    const to = connect(Number(wanted), hostname, () => {
      from.write('HTTP/1.1 200 Connection established\r\n\r\n');
      to.write(head);
      splice(from, to);
    });
    to.once('error', () => from.destroy());
  });
  proxy.listen(Number(port), host, () => say('ready'));
}
