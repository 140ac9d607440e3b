// The PostgreSQL of the system under test: kept running, frozen, restored from a copy of itself, and replaced by a
// standby.
import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { adminRole } from '../../server/src/database/cluster-passwords.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../server/src/database/embedded-postgres.ts';
import { connect, type Sql } from '../../server/src/store/database/connection.ts';
import { isFrozen, parentOf, signalPid, standsStill, until } from './waiting.ts';

const run = promisify(execFile);
// Nothing here outlives the machine, and copies should be small.
const settings = { fsync: 'off', min_wal_size: '32MB', max_wal_size: '128MB' };
const standbyName = 'standby';
const frozenWithinMs = 60_000;

export class FaultDatabase {
  readonly #dir: string;
  readonly #say: (text: string) => void;
  #postgres!: EmbeddedPostgres;
  #isStopping = false;
  /** Data directory of the one in service. */
  #home: string;
  #standbys = 0;
  #turn: Promise<unknown> = Promise.resolve();
  #port = 0;

  private constructor(dir: string, say: (text: string) => void) {
    this.#dir = dir;
    this.#say = say;
    this.#home = join(dir, 'postgres');
  }

  static async start(dir: string, say: (text: string) => void): Promise<FaultDatabase> {
    const database = new FaultDatabase(dir, say);
    await database.#open();
    return database;
  }

  get port(): number {
    return this.#port;
  }

  /** Its URL through another port. */
  urlThrough(port: number): string {
    const url = new URL(this.#postgres.url);
    url.port = String(port);
    return url.href;
  }

  get postmasterPid(): number {
    return this.#postgres.pid;
  }

  /**
   * Pids of the postmaster and its children. Reads without the thread pool: there it would queue behind whatever the
   * process computes, once for each process of the machine.
   */
  pids(): number[] {
    const children = readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((pid) => parentOf(pid) === this.postmasterPid);
    return [this.postmasterPid, ...children];
  }

  signal(name: NodeJS.Signals): void {
    for (const pid of this.pids()) signalPid(pid, name);
  }

  /**
   * Freezes all its processes; resolves when all stand still. Waits for the successor of one that was just killed: its
   * remains may still answer, and freezing them would stop nobody.
   */
  async freeze(): Promise<void> {
    await until(
      'PostgreSQL stands still',
      async () => {
        const pid = this.postmasterPid;
        signalPid(pid, 'SIGSTOP');
        // Until then it may create children that the search doesn't find.
        if (!isFrozen(pid)) return false;
        this.signal('SIGSTOP');
        return pid === this.postmasterPid && this.pids().every(standsStill);
      },
      frozenWithinMs,
      5,
    );
  }

  /** Lets all its processes go on; resolves when none is frozen. */
  async thaw(): Promise<void> {
    await until('PostgreSQL goes on', async () => {
      this.signal('SIGCONT');
      return !this.pids().some(isFrozen);
    });
  }

  /** Serializes the operations on it. */
  async inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work);
    this.#turn = mine.catch(() => undefined);
    return mine;
  }

  /** Makes a copy of everything as of one moment. */
  async backUp(): Promise<void> {
    await this.#copyTo(join(this.#dir, 'backup'));
  }

  /** Discards everything since `backUp`. No server may be running. */
  async restore(): Promise<void> {
    await this.#end('SIGINT');
    await rm(this.#home, { recursive: true, force: true, maxRetries: 5 });
    await run('mv', [join(this.#dir, 'backup'), this.#home]);
    await this.#open(this.#port);
  }

  /** A standby with everything that was acknowledged replaces the primary, which is killed. */
  async failOver(): Promise<void> {
    this.#standbys += 1;
    const home = join(this.#dir, `standby-${this.#standbys}`);
    await this.#copyTo(home);
    const secrets = JSON.parse(await readFile(join(home, 'credentials.json'), 'utf8')) as {
      adminPassword: string;
    };
    const conninfo = `host=127.0.0.1 port=${this.#port} user=${adminRole} password=${secrets.adminPassword} application_name=${standbyName}`;
    await writeFile(join(home, 'cluster/standby.signal'), '');
    await run('chown', ['--reference', join(home, 'cluster'), join(home, 'cluster/standby.signal')]);
    const standby = await startEmbeddedPostgres({
      dataDir: home,
      log: this.#say,
      settings: { ...settings, primary_conninfo: conninfo },
    });
    await withAdministrator(this.#postgres.url, secrets.adminPassword, async (sql) => {
      await until('the standby follows', async () => {
        const rows =
          await sql`select 1 from pg_stat_replication where application_name = ${standbyName} and state = 'streaming'`;
        return rows.length > 0;
      });
      await sql.unsafe(`alter system set synchronous_standby_names = '${standbyName}'`);
      await sql`select pg_reload_conf()`;
      await until('the standby is synchronous', async () => {
        const rows = await sql`select 1 from pg_stat_replication where sync_state = 'sync'`;
        return rows.length > 0;
      });
    });
    const primary = this.#home;
    await this.#end('SIGKILL');
    await withAdministrator(standby.url, secrets.adminPassword, async (sql) => {
      await sql`select pg_promote()`;
    });
    this.#home = home;
    this.#serve(standby);
    await rm(primary, { recursive: true, force: true, maxRetries: 5 });
  }

  async stop(): Promise<void> {
    if (this.#postgres === undefined) return;
    await this.thaw();
    await this.#end('SIGINT');
  }

  async #open(port?: number): Promise<void> {
    const postgres = await startEmbeddedPostgres({
      dataDir: this.#home,
      log: this.#say,
      settings,
      ...(port === undefined ? {} : { pickPort: async () => port }),
    });
    this.#serve(postgres);
  }

  /** Its supervisor gives up on one that is killed repeatedly; a person would start it again. */
  #serve(postgres: EmbeddedPostgres): void {
    this.#postgres = postgres;
    this.#port = Number(new URL(postgres.url).port);
    this.#isStopping = false;
    void postgres.exited.then(async ({ reason }) => {
      if (this.#isStopping || this.#postgres !== postgres) return;
      this.#say(`PostgreSQL is started again: ${reason}`);
      await this.#open(this.#port);
    });
  }

  async #end(how: NodeJS.Signals): Promise<void> {
    this.#isStopping = true;
    const pids = this.pids();
    const stopped = this.#postgres.stop();
    // Before it can react to being asked to stop.
    if (how === 'SIGKILL') for (const pid of pids) signalPid(pid, 'SIGKILL');
    await stopped;
  }

  /** Like a snapshot of its disk: made while nothing in it changes. */
  async #copyTo(home: string): Promise<void> {
    await rm(home, { recursive: true, force: true });
    await mkdir(home, { mode: 0o711 });
    await this.freeze();
    try {
      for (const name of ['cluster', 'credentials.json']) {
        await run('cp', ['-a', join(this.#home, name), join(home, name)]);
      }
    } finally {
      await this.thaw();
    }
    await rm(join(home, 'cluster/postmaster.pid'), { force: true });
  }
}

async function withAdministrator(
  url: string,
  password: string,
  work: (sql: Sql) => Promise<void>,
): Promise<void> {
  const as = new URL(url);
  as.username = adminRole;
  as.password = password;
  as.pathname = '/postgres';
  const sql = connect(as.href, { max: 1 });
  try {
    await work(sql);
  } finally {
    await sql.end({ timeout: 1 });
  }
}
