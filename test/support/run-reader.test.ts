import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { RunReader } from './run-reader.ts';

const change = { run: { status: 'running' }, steps: [{ id: 7, status: 'running' }] };

/** A stream that sends this much and no more. */
async function startStream(): Promise<string> {
  const server = createServer((_, reply) => {
    reply.writeHead(200, { 'content-type': 'text/event-stream' });
    reply.write(`event: change\nid: 1\ndata: ${JSON.stringify(change)}\n\n`);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

test('a wait that would outlast its test fails earlier, with what it waited for and what it had seen', async () => {
  let passedMs = 0;
  const now = () => Date.now() + passedMs;
  const reader = new RunReader({ url: await startStream(), token: 'token', now });
  onTestFinished(() => reader.close());
  await reader.until(() => reader.status === 'running', 'the run to run');
  passedMs = 58_000;
  await expect(reader.until(() => false, 'the last line')).rejects.toThrow(
    /^the last line: not within 0 s; run running \(null\), 0 bytes, \["step 7 running: "\]$/,
  );
}, 60_000);
