import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import type { ClientChannel } from 'ssh2';
import { expect } from 'vitest';
import { exitOf, type SshConnection } from '../connection.ts';
import { SshError } from '../ssh-error.ts';
import { refusalOf, type SshSetup, setupSshd, sshTest } from '../sshd-setup.ts';
import type { PooledChannel, SshPool } from './pool.ts';

const cat = (connection: SshConnection) => connection.exec('cat');

async function echo(pool: SshPool, t: SshSetup, more: object = {}): Promise<PooledChannel<ClientChannel>> {
  const pooled = await pool.open({ ...t.request, ...more }, (connection) => connection.exec('echo ok'));
  expect(await text(pooled.channel)).toBe('ok\n');
  pooled.release();
  return pooled;
}

sshTest(
  'a connection is kept for the next request, but only for the same target and credential',
  async () => {
    const t = await setupSshd();
    const pool = t.pool();
    const first = await echo(pool, t);
    const second = await echo(pool, t);
    expect([first.reused, second.reused]).toEqual([false, true]);
    expect(second.connection.id).toBe(first.connection.id);
    const rotated = await echo(pool, t, { credential: { ...t.credential, version: 2 } });
    expect(rotated.reused).toBe(false);
    const retargeted = await echo(pool, t, { target: { ...t.target, id: 2 } });
    expect(retargeted.reused).toBe(false);
    // The same credential for another user is another login.
    const other = { credential: { ...t.credential, user: 'no-such-user' } };
    expect((await refusalOf(echo(pool, t, other))).reason).toBe('auth_failed');
    // A host key that is no longer accepted must not be reached over an old connection.
    const refused = await refusalOf(echo(pool, t, { target: { ...t.target, hostKeys: [] } }));
    expect(refused.reason).toBe('host_key_unknown');
  },
);

sshTest(
  'nothing new begins on a retired connection: what runs there continues, can be stopped, and closes it at its end',
  async () => {
    const t = await setupSshd();
    const pool = t.pool();
    const idle = await echo(pool, t);
    pool.retire();
    await idle.connection.closed;
    const running = await pool.open(t.request, cat);
    expect(running.reused).toBe(false);
    pool.retire();
    const denied = { checkAddresses: () => Promise.reject(new Error('not allowed')) };
    await expect(echo(pool, t, denied)).rejects.toThrow();
    const stopping = await echo(pool, t, { ...denied, urgent: true });
    expect(stopping.connection.id).toBe(running.connection.id);
    running.channel.end('goes on');
    expect(await text(running.channel)).toBe('goes on');
    running.release();
    await running.connection.closed;
    expect(pool.connections).toBe(0);
  },
);

sshTest('of requests that fail on one connection, each is told its own reason', async () => {
  const t = await setupSshd();
  const pool = t.pool();
  let onRefused = () => {};
  const secondRefused = new Promise<void>((resolve) => {
    onRefused = resolve;
  });
  const refuse = async (before: Promise<void>): Promise<ClientChannel> => {
    await before;
    throw new SshError({ reason: 'become_refused', message: 'No.', advice: 'Ask.' });
  };
  // The one that opened the connection has its last place.
  const first = refusalOf(pool.open(t.request, () => refuse(secondRefused)));
  const second = refusalOf(pool.open(t.request, () => refuse(Promise.resolve())));
  expect((await second).reason).toBe('become_refused');
  onRefused();
  expect((await first).reason).toBe('become_refused');
  expect(pool.connections).toBe(0);
});

sshTest('many requests at once share one connection, and then another', async () => {
  const t = await setupSshd();
  const pool = t.pool({ maxChannels: 4 });
  const channels = await Promise.all(Array.from({ length: 8 }, () => pool.open(t.request, cat)));
  expect(new Set(channels.map(({ connection }) => connection.id)).size).toBe(2);
  expect(pool.connections).toBe(2);
});

sshTest('a failed login is tried once, and reported to every request that waited for it', async () => {
  const t = await setupSshd({ config: ['LogLevel VERBOSE'] });
  const pool = t.pool();
  const request = { ...t.request, credential: { ...t.credential, user: 'no-such-user' } };
  const errors = await Promise.all(Array.from({ length: 5 }, () => refusalOf(pool.open(request, cat))));
  expect(errors.map(({ reason }) => reason)).toEqual(Array(5).fill('auth_failed'));
  expect(t.sshd.log().match(/^Connection from/gm)).toHaveLength(1);
  expect(pool.connections).toBe(0);
});

sshTest('a server that allows fewer sessions gets another connection', async () => {
  const t = await setupSshd({ config: ['MaxSessions 2'] });
  const pool = t.pool();
  const channels: PooledChannel<ClientChannel>[] = [];
  for (let i = 0; i < 5; i += 1) channels.push(await pool.open(t.request, cat));
  expect(pool.connections).toBe(3);
});

sshTest('a server that allows no session at all fails the request', async () => {
  const t = await setupSshd({ config: ['MaxSessions 0'] });
  expect((await refusalOf(t.pool().open(t.request, cat))).reason).toBe('channel_refused');
});

sshTest('a warm connection that died is replaced without the request noticing', async () => {
  const t = await setupSshd();
  const pool = t.pool();
  const first = await echo(pool, t);
  t.sshd.killSessions();
  await first.connection.closed;
  const second = await echo(pool, t);
  expect(second.connection.id).not.toBe(first.connection.id);
});

sshTest('a warm connection that dies while a channel is opened costs one more try', async () => {
  const t = await setupSshd();
  const pool = t.pool();
  await echo(pool, t);
  let tries = 0;
  const pooled = await pool.open(t.request, (connection) => {
    tries += 1;
    if (tries === 1) t.sshd.killSessions();
    return connection.exec('echo ok');
  });
  expect(await text(pooled.channel)).toBe('ok\n');
  expect(tries).toBe(2);
});

sshTest('a fresh connection that dies is not retried forever', async () => {
  const t = await setupSshd();
  let tries = 0;
  const error = await refusalOf(
    t.pool().open(t.request, (connection) => {
      tries += 1;
      t.sshd.killSessions();
      return connection.exec('true');
    }),
  );
  expect(error).toMatchObject({ reason: 'unreachable', retryable: true });
  expect(tries).toBe(1);
});

sshTest('an unused connection is closed after its time', async () => {
  const t = await setupSshd();
  const pool = t.pool({ idleMs: 20 });
  const { connection } = await echo(pool, t);
  await connection.closed;
  expect(pool.connections).toBe(0);
});

sshTest('beyond the limit a request waits for a place, and may give up', async () => {
  const t = await setupSshd();
  const pool = t.pool({ maxChannels: 1, maxConnectionsPerTarget: 1 });
  const held = await pool.open(t.request, cat);
  const giveUp = new AbortController();
  const impatient = pool.open({ ...t.request, signal: giveUp.signal }, cat);
  const patient = pool.open(t.request, cat);
  giveUp.abort(new Error('enough'));
  await expect(impatient).rejects.toThrow('enough');
  held.channel.end();
  held.channel.resume();
  await once(held.channel, 'close');
  held.release();
  expect((await patient).reused).toBe(true);
});

sshTest('stopping what runs ignores the limits', async () => {
  const t = await setupSshd();
  const pool = t.pool({ maxChannels: 1, maxConnectionsPerTarget: 1, maxConnections: 1 });
  await pool.open(t.request, cat);
  await echo(pool, t, { urgent: true });
});

sshTest('of several unused connections, the one that was unused for longest makes room', async () => {
  const t = await setupSshd();
  const pool = t.pool({ maxConnections: 2 });
  const use = async (id: number) => {
    const pooled = await pool.open({ ...t.request, target: { ...t.target, id } }, cat);
    pooled.channel.close();
    pooled.release();
    return pooled.reused;
  };
  for (const id of [1, 2, 1, 3]) await use(id);
  expect([await use(1), await use(2)]).toEqual([true, false]);
});

sshTest('an unused connection makes room for another target', async () => {
  const t = await setupSshd();
  const pool = t.pool({ maxConnections: 1 });
  const first = await echo(pool, t);
  await echo(pool, t, { target: { ...t.target, id: 2 } });
  await first.connection.closed;
  expect(pool.connections).toBe(1);
});

sshTest('a place freed at one target lets another target in', async () => {
  const t = await setupSshd();
  const pool = t.pool({ maxConnections: 1 });
  const held = await pool.open(t.request, cat);
  const other = pool.open({ ...t.request, target: { ...t.target, id: 2 } }, cat);
  held.channel.close();
  held.release();
  expect((await other).reused).toBe(false);
});

sshTest('closing the pool closes its connections and leaves nobody waiting', async () => {
  const t = await setupSshd();
  const pool = t.pool({ maxChannels: 1, maxConnectionsPerTarget: 1 });
  const held = await pool.open(t.request, cat);
  const waiting = refusalOf(pool.open(t.request, cat));
  const closed = once(held.channel, 'close');
  held.channel.resume();
  await pool.close();
  await closed;
  expect((await waiting).message).toContain('shutting down');
  expect((await refusalOf(pool.open(t.request, cat))).message).toContain('shutting down');
});

sshTest('closing the pool while connections are being opened leaves none open', async () => {
  const t = await setupSshd();
  for (let turns = 0; turns < 12; turns += 1) {
    const pool = t.pool();
    // It may succeed on a slow machine.
    const opening = pool.open(t.request, cat).catch((reason: unknown) => reason);
    // Each time the pool is closed a little further into the handshake.
    for (let turn = 0; turn < turns * 3; turn += 1) await new Promise(setImmediate);
    await pool.close();
    const opened = await opening;
    if (opened instanceof Error) expect(opened).toBeInstanceOf(SshError);
    expect(pool.connections).toBe(0);
  }
  await expect.poll(() => t.sshd.sessionPids(), { timeout: 20_000 }).toEqual([]);
});

const watch = (channel: ClientChannel, gone: () => void) => void channel.once('exit', gone);

sshTest('a spare channel goes to one request, which must ask for the same thing', async () => {
  const t = await setupSshd();
  const pool = t.pool();
  const first = await pool.open(t.request, cat);
  first.prepareNext(watch);
  first.release();
  const other = await pool.open(t.request, (connection) => connection.exec('cat'));
  const next = await pool.open(t.request, cat);
  const third = await pool.open(t.request, cat);
  expect([first, other, next, third].map(({ prepared }) => prepared)).toEqual([false, false, true, false]);
  next.channel.end('hello');
  expect(await text(next.channel)).toBe('hello');
  expect(pool.connections).toBe(1);
});

sshTest('a request for a channel of its own leaves the spare to the next request', async () => {
  const t = await setupSshd();
  const pool = t.pool();
  const first = await pool.open(t.request, cat);
  first.prepareNext(watch);
  const own = await pool.open({ ...t.request, ownChannel: true }, cat);
  const next = await pool.open(t.request, cat);
  expect([own, next].map(({ prepared }) => prepared)).toEqual([false, true]);
});

sshTest(
  'a reserved spare channel serves only the request it is reserved for, and was told of it',
  async () => {
    const t = await setupSshd();
    const pool = t.pool();
    const first = await pool.open(t.request, cat);
    first.prepareNext(watch);
    const targetId = t.target.id;
    pool.reserve({ targetId: targetId + 1, name: 'elsewhere' }, cat, (channel) => channel.write('elsewhere'));
    pool.reserve({ targetId, name: 'ours' }, cat, (channel) => channel.write('ours, '));
    pool.reserve({ targetId, name: 'late' }, cat, (channel) => channel.write('late'));
    const late = await pool.open({ ...t.request, name: 'late' }, cat);
    const nameless = await pool.open(t.request, cat);
    const ours = await pool.open({ ...t.request, name: 'ours' }, cat);
    expect([late, nameless, ours].map(({ reserved }) => reserved)).toEqual([false, false, true]);
    ours.channel.end('and nobody else’s');
    expect(await text(ours.channel)).toBe('ours, and nobody else’s');
  },
);

sshTest(
  'a request that is announced twice has one channel reserved, and the spare stays for others',
  async () => {
    const t = await setupSshd();
    const pool = t.pool();
    const first = await pool.open(t.request, cat);
    for (let n = 0; n < 2; n += 1) {
      first.prepareNext(watch);
      pool.reserve({ targetId: t.target.id, name: 'ours' }, cat, (channel) => channel.write('ours'));
    }
    const other = await pool.open({ ...t.request, name: 'other' }, cat);
    expect(other).toMatchObject({ prepared: true, reserved: false });
    expect(pool.hasReserved('ours')).toBe(true);
  },
);

sshTest('where few sessions are allowed, spares give way to requests, and none fails', async () => {
  const t = await setupSshd({ config: ['MaxSessions 3'] });
  const pool = t.pool();
  const first = await pool.open(t.request, cat);
  for (const name of ['one', 'two']) {
    first.prepareNext(watch);
    pool.reserve({ targetId: t.target.id, name }, cat, () => {});
  }
  const others = [await pool.open(t.request, cat), await pool.open(t.request, cat)];
  for (const { channel } of others) channel.end('hello');
  expect(await Promise.all(others.map(({ channel }) => text(channel)))).toEqual(['hello', 'hello']);
});

sshTest(
  'nothing is reserved on a target with spares of two credentials, as it is not known which one the step will use',
  async () => {
    const t = await setupSshd();
    const pool = t.pool();
    const others = { ...t.request, credential: { ...t.credential, version: t.credential.version + 1 } };
    for (const request of [t.request, others]) (await pool.open(request, cat)).prepareNext(watch);
    pool.reserve({ targetId: t.target.id, name: 'ours' }, cat, () => {});
    expect(await pool.open({ ...t.request, name: 'ours' }, cat)).toMatchObject({
      prepared: true,
      reserved: false,
    });
  },
);

sshTest('during a rush, a spare channel is opened only if requests follow one another', async () => {
  const t = await setupSshd();
  const pool = t.pool({ rush: { most: 1, windowMs: 60_000 }, seriesGapMs: 60_000 });
  const open = (id: number) => pool.open({ ...t.request, target: { ...t.target, id } }, cat);
  const end = (pooled: PooledChannel<ClientChannel>) => {
    pooled.prepareNext(watch);
    pooled.channel.close();
    pooled.release();
  };
  const calm = await open(1);
  end(calm);
  const follows = await open(1);
  const busy = await open(2);
  end(follows);
  end(busy);
  const third = await open(1);
  const other = await open(2);
  expect([calm, follows, busy, third, other].map(({ prepared }) => prepared)).toEqual(
    // The first request was alone, the next one followed it, and the other host’s was one of many.
    [false, true, false, true, false],
  );
  end(other);
  expect((await open(2)).prepared).toBe(true);
});

sshTest('a spare channel does not keep a request from a place', async () => {
  const t = await setupSshd();
  const pool = t.pool({ maxChannels: 2 });
  const first = await pool.open(t.request, cat);
  first.prepareNext(watch);
  const other = await echo(pool, t);
  expect([other.prepared, pool.connections]).toEqual([false, 1]);
});

sshTest('a channel whose other end has gone is not handed out', async () => {
  const t = await setupSshd();
  const pool = t.pool();
  const short = (connection: SshConnection) => connection.exec('exec true');
  const first = await pool.open(t.request, short);
  const gone = new Promise<void>((resolve) => {
    first.prepareNext((channel, drop) => {
      const ended = () => {
        drop();
        resolve();
      };
      // The exit of such a short command may come with the confirmation of its start.
      if (exitOf(channel) === undefined) channel.once('exit', ended);
      else ended();
    });
  });
  await gone;
  expect((await pool.open(t.request, short)).prepared).toBe(false);
});

sshTest('a spare channel is closed if nobody uses it', async () => {
  const t = await setupSshd();
  const pool = t.pool({ idleMs: 200 });
  const first = await pool.open(t.request, cat);
  const closed = new Promise<void>((resolve) => {
    // Its end is reported once its output was read.
    first.prepareNext((channel) => void channel.resume().once('close', resolve));
  });
  await closed;
  expect(pool.connections).toBe(1);
  expect((await pool.open(t.request, cat)).prepared).toBe(false);
});
