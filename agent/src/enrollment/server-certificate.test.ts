import dns from 'node:dns';
import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test, vi } from 'vitest';
import { withoutProxy } from '../connection/proxy.ts';
import { makeCertificates } from '../testing/certificates.ts';
import { temporaryDirectory } from '../testing/enrolled-directory.ts';
import { presentedRoot } from './server-certificate.ts';

test('a server is found at the second address of its name if nothing answers at the first', async () => {
  const { path, remove } = await temporaryDirectory();
  onTestFinished(remove);
  const { key, chain, caPem } = await makeCertificates(path, 'DNS:two.example');
  const server = createServer({ key, cert: chain });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => void server.close());
  const addresses = ['127.0.0.2', '127.0.0.1'].map((address) => ({ address, family: 4 }));
  const lookup = vi.spyOn(dns, 'lookup') as unknown as ReturnType<typeof vi.fn>;
  onTestFinished(() => lookup.mockRestore());
  lookup.mockImplementation((_host, _options, done) => process.nextTick(done, null, addresses));
  const { port } = server.address() as AddressInfo;
  const root = await presentedRoot(new URL(`https://two.example:${port}`), withoutProxy);
  expect(root.toString().trim()).toBe(caPem.trim());
});
