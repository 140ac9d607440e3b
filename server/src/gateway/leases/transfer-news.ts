// Passes the progress of transfers from agents to the readers on all servers. Only the newest of each step is kept, and
// told at most once a second. Nothing is stored; anything that gets lost is made up for by the next. The file that is
// being moved is told only on the agent's own server: file names are sealed in the database and must not pass through
// it in the clear.
import { limits, type TransferProgress, TransferProgressSchema } from '@opsconductor/protocol';
import { Check } from 'typebox/value';
import type { Log } from '../../log.ts';
import type { LiveHub, LiveTransfer } from '../../runs/live/live-hub.ts';
import type { Sql } from '../../store/database/connection.ts';
import { tellTransfers } from '../../store/runs/transfers/transfer-notices.ts';

/** PostgreSQL allows 8,000 bytes in a notification. */
const maxPayloadBytes = 7_500;
/** Room for the server's id and the text around the transfers. */
const envelopeBytes = 200;
const maxShownPath = 500;

export interface TransferNewsDeps {
  sql: Sql;
  hub: Pick<LiveHub, 'publishTransfers'>;
  serverId: string;
  log: Log;
}

export class TransferNews {
  readonly #deps: TransferNewsDeps;
  #gathered = new Map<number, LiveTransfer>();
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: TransferNewsDeps) {
    this.#deps = deps;
  }

  progressed(
    { runId, stepId, epoch }: { runId: number; stepId: number; epoch: number },
    { current, ...progress }: TransferProgress,
  ): void {
    const shown = current === undefined ? {} : { current: current.slice(0, maxShownPath).toWellFormed() };
    const transfer = { runId, stepId, attempt: epoch, progress };
    this.#deps.hub.publishTransfers([{ ...transfer, progress: { ...progress, ...shown } }]);
    this.#gathered.set(stepId, transfer);
    this.#timer ??= setTimeout(() => void this.#tell(), limits.transferProgressMs);
  }

  /** Handles what a server has told all of them. */
  heard(payload: string): void {
    const { server, transfers } = JSON.parse(payload) as { server: string; transfers: LiveTransfer[] };
    if (server === this.#deps.serverId) return;
    // The other server may be of another version.
    this.#deps.hub.publishTransfers(
      transfers.filter(({ progress }) => Check(TransferProgressSchema, progress)),
    );
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  async #tell(): Promise<void> {
    this.#timer = undefined;
    const transfers = [...this.#gathered.values()];
    this.#gathered = new Map();
    try {
      for (const some of inPayloads(transfers)) {
        await tellTransfers(this.#deps.sql, JSON.stringify({ server: this.#deps.serverId, transfers: some }));
      }
    } catch (error) {
      this.#deps.log.debug({ err: error }, 'other servers could not be told the progress of transfers');
    }
  }
}

function inPayloads(transfers: readonly LiveTransfer[]): LiveTransfer[][] {
  const payloads: LiveTransfer[][] = [];
  let bytes = maxPayloadBytes;
  for (const transfer of transfers) {
    const length = Buffer.byteLength(JSON.stringify(transfer));
    if (bytes + length > maxPayloadBytes) {
      payloads.push([]);
      bytes = envelopeBytes;
    }
    payloads.at(-1)?.push(transfer);
    bytes += length + 1;
  }
  return payloads;
}
