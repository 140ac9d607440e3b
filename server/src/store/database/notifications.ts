// LISTEN on the bus. A notification only wakes up its listeners; after every (re)connect they resync completely.
import type { ShutOut } from '../agents/agent-lifecycle.ts';
import { connectListener, type Sql } from './connection.ts';

export interface ProgressNotice {
  runs: { id: number; seq: number }[];
  segments: number[];
  cancel: number[];
  /** Target runs that were cancelled by themselves. */
  cancelTargetRuns?: number[];
}

export interface NotificationHandlers {
  progress(notice: ProgressNotice): void;
  /** Output of these steps was stored. */
  output(marks: { stepId: number; epoch: number; seq: number }[]): void;
  /** An agent authenticated, or was shut out in the given way: any older session of it is over. */
  session(agentId: number, sessionNumber: number, shutOut: ShutOut | 'quarantined' | undefined): void;
  /** The roster, keys or wraps of a segment changed. */
  segment(segmentId: number): void;
  /** A scan has targets to hand out, or was cancelled. */
  scans(cancelledId?: number): void;
  /** Principals must be looked up again; see `tellForgotten`. */
  forget(notice: ForgetNotice): void;
  /** Progress of transfers, as their agents reported it to any server. */
  transfers(payload: string): void;
  /** Another server is asking for an agent of the segment. */
  asked(id: string, segmentId: number): void;
  answered(id: string): void;
  /** The connection was lost and is back: notifications sent meanwhile were missed. */
  resync(): void;
}

/**
 * Whose sessions and tokens have ended or changed: users, one session or API token, or everybody, in which case the ids
 * mean nothing.
 */
export interface ForgetNotice {
  kind: 'user' | 'session' | 'api_token' | 'everybody';
  ids: readonly number[];
}

const channels = [
  'opsc_progress',
  'opsc_output',
  'opsc_session',
  'opsc_segment',
  'opsc_scan',
  'opsc_transfer',
  'opsc_forget',
  'opsc_ask',
  'opsc_answer',
] as const;
const forgetKinds = ['user', 'session', 'api_token', 'everybody'] as const;
/** PostgreSQL allows 8,000 bytes in a notification. */
const maxIdsPerNotice = 400;
const shutOuts = ['quarantined', 'disabled', 'revoked'] as const;
const retryMs = 250;

/** Tells all servers for whom they must discard what they have cached. */
export async function tellForgotten(sql: Sql, { kind, ids }: ForgetNotice): Promise<void> {
  for (let at = 0; at < ids.length; at += maxIdsPerNotice) {
    const some = ids.slice(at, at + maxIdsPerNotice);
    await sql`select pg_notify('opsc_forget', ${`${kind}.${some.join(',')}`})`;
  }
}

export interface Listening {
  /** Its connection, on which nothing waits for locks; `undefined` while it is lost. For statements that don't either. */
  readonly connection: Sql | undefined;
  stop(): Promise<void>;
}

/** Listens until `stop()`, on a connection of its own that is reopened whenever it is lost. */
export async function listen(sql: Sql, handlers: NotificationHandlers): Promise<Listening> {
  const listener = new Listener(sql, handlers);
  await listener.start();
  return listener;
}

class Listener implements Listening {
  readonly #sql: Sql;
  readonly #handlers: NotificationHandlers;
  #connection: Sql | undefined;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(sql: Sql, handlers: NotificationHandlers) {
    this.#sql = sql;
    this.#handlers = handlers;
  }

  get connection(): Sql | undefined {
    return this.#connection;
  }

  /** Rejects if the first connection can't be made. */
  async start(): Promise<void> {
    const connection = connectListener(this.#sql, {
      onNotify: (channel, payload) => this.#tell(channel, payload),
      onClose: () => this.#again(connection),
    });
    this.#connection = connection;
    await connection.unsafe(channels.map((channel) => `listen ${channel}`).join(';'));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#connection?.end({ timeout: 1 });
  }

  #again(lost: Sql): void {
    if (this.#stopped || this.#connection !== lost) return;
    this.#connection = undefined;
    void lost.end({ timeout: 0 });
    this.#timer = setTimeout(() => {
      this.start().then(
        () => this.#handlers.resync(),
        () => {
          if (this.#connection !== undefined) this.#again(this.#connection);
        },
      );
    }, retryMs);
  }

  #tell(channel: string, payload: string): void {
    const { progress, output, session, segment, scans } = this.#handlers;
    if (channel === 'opsc_progress') progress(parseProgress(payload));
    else if (channel === 'opsc_output') output(parseMarks(payload));
    else if (channel === 'opsc_transfer') this.#handlers.transfers(payload);
    else if (channel === 'opsc_segment') segment(Number(payload));
    else if (channel === 'opsc_scan') {
      scans(payload.startsWith('cancel.') ? Number(payload.slice('cancel.'.length)) : undefined);
    } else if (channel === 'opsc_forget') this.#tellForget(payload);
    else if (channel === 'opsc_answer') this.#handlers.answered(payload);
    else if (channel === 'opsc_ask') {
      const [id = '', segmentId] = payload.split(' ');
      this.#handlers.asked(id, Number(segmentId));
    } else if (channel === 'opsc_session') {
      const [agentId, number, state] = payload.split('.');
      session(
        Number(agentId),
        Number(number),
        shutOuts.find((known) => known === state),
      );
    }
  }

  #tellForget(payload: string): void {
    const [word, ids = ''] = payload.split('.');
    const kind = forgetKinds.find((known) => known === word);
    if (kind !== undefined) this.#handlers.forget({ kind, ids: ids.split(',').map(Number) });
  }
}

function parseMarks(payload: string): { stepId: number; epoch: number; seq: number }[] {
  return payload.split(',').map((mark) => {
    const [stepId, epoch, seq] = mark.split('.').map(Number);
    return { stepId: stepId ?? 0, epoch: epoch ?? 0, seq: seq ?? 0 };
  });
}

function parseProgress(payload: string): ProgressNotice {
  const { r, s, c, t } = JSON.parse(payload) as { r: string[]; s: number[]; c: number[]; t?: number[] };
  return {
    runs: r.map((mark) => {
      const [id, seq] = mark.split('.').map(Number);
      return { id: id ?? 0, seq: seq ?? 0 };
    }),
    segments: s,
    cancel: c,
    ...(t === undefined ? {} : { cancelTargetRuns: t }),
  };
}
