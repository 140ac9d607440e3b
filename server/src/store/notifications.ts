// LISTEN on the bus. A notification only wakes; after every (re)connect the listener resyncs wholly.
import type { Sql } from './connection.ts';

export interface ProgressNotice {
  runs: { id: number; seq: number }[];
  segments: number[];
  cancel: number[];
}

export interface NotificationHandlers {
  progress(notice: ProgressNotice): void;
  /** Output of these steps was stored. */
  output(marks: { stepId: number; epoch: number; seq: number }[]): void;
  /** An agent authenticated, or was quarantined: an older session of it is over. */
  session(agentId: number, sessionNumber: number, isQuarantined: boolean): void;
  /** Roster, keys or wraps of a segment changed. */
  segment(segmentId: number): void;
  /** The connection was lost and is back: whatever was notified meanwhile is unknown. */
  resync(): void;
}

/** Listens until `stop()`; postgres.js reconnects by itself. */
export async function listen(sql: Sql, handlers: NotificationHandlers): Promise<{ stop(): Promise<void> }> {
  let first = true;
  const progress = await sql.listen(
    'opsc_progress',
    (payload) => handlers.progress(parseProgress(payload)),
    () => {
      if (!first) handlers.resync();
      first = false;
    },
  );
  const output = await sql.listen('opsc_output', (payload) =>
    handlers.output(
      payload.split(',').map((mark) => {
        const [stepId, epoch, seq] = mark.split('.').map(Number);
        return { stepId: stepId ?? 0, epoch: epoch ?? 0, seq: seq ?? 0 };
      }),
    ),
  );
  const session = await sql.listen('opsc_session', (payload) => {
    const [agentId, number, state] = payload.split('.');
    handlers.session(Number(agentId), Number(number), state === 'quarantined');
  });
  const segment = await sql.listen('opsc_segment', (payload) => handlers.segment(Number(payload)));
  return {
    async stop() {
      for (const channel of [progress, output, session, segment]) await channel.unlisten();
    },
  };
}

function parseProgress(payload: string): ProgressNotice {
  const { r, s, c } = JSON.parse(payload) as { r: string[]; s: number[]; c: number[] };
  return {
    runs: r.map((mark) => {
      const [id, seq] = mark.split('.').map(Number);
      return { id: id ?? 0, seq: seq ?? 0 };
    }),
    segments: s,
    cancel: c,
  };
}
