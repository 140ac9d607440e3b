import { expect, test } from 'vitest';
import type { GssapiLibrary } from './gssapi-library.ts';
import { KerberosTickets } from './kerberos-tickets.ts';
import type { KdcReply, KdcRequest } from './serve-kdc.ts';

const client = { user: 'ann@CORP', from: { password: 'x' } };

/** A library whose threads answer each request and record it. */
function setup() {
  const asked: KdcRequest['do'][] = [];
  const realms: string[] = [];
  const ask = async (request: KdcRequest, realm: string): Promise<KdcReply> => {
    asked.push(request.do);
    realms.push(realm);
    return { major: 0, problem: '', handle: 1n, token: new Uint8Array(), flags: 0 };
  };
  const library = { threads: { ask } } as unknown as GssapiLibrary;
  return { asked, realms, library, tickets: new KerberosTickets('owner') };
}

test('tickets that are dropped while somebody takes them are freed only by their last user', async () => {
  const t = setup();
  const first = await t.tickets.take(t.library, client);
  first.release();
  const taking = t.tickets.take(t.library, client, new AbortController().signal);
  t.tickets.forget(first);
  const taken = await taking;
  expect(t.asked).toEqual(['acquire']);
  taken.release();
  expect(t.asked).toEqual(['acquire', 'release']);
});

test('a caller that gives up while tickets are being requested does not keep them', async () => {
  const t = setup();
  const stopped = new AbortController();
  const taking = t.tickets.take(t.library, client, stopped.signal);
  stopped.abort(new Error('called off'));
  await expect(taking).rejects.toThrow('called off');
  t.tickets.close();
  await expect.poll(() => t.asked).toEqual(['acquire', 'release']);
});

test('users who name no realm wait for the same KDC, whatever their names', async () => {
  const t = setup();
  for (const user of ['ann', 'ben', 'CORP\\ann', 'ben@corp']) {
    (await t.tickets.take(t.library, { ...client, user })).release();
  }
  expect(t.realms).toEqual(['', '', 'CORP', 'CORP']);
});
