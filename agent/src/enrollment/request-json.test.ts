import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { requestJson } from './request-json.ts';

test('a reply that switches protocols is an error at once', async () => {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => {
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const access = {
    server: `http://127.0.0.1:${port}`,
    ca: undefined,
    proxy: { httpsProxy: undefined, noProxy: undefined },
  };
  await expect(requestJson(access, '/healthz')).rejects.toThrow('closed without a reply');
});
