// A look at one target without logging in: a scan of only this target, followed until an agent has reported.
import type { CreateHostScanRequest, HostScanDetail } from '@opsconductor/protocol';
import { ApiError } from '../../api/client.ts';

const everyMs = 1_000;
const maxLooks = 25;

export class ReachLook {
  busyWith = $state<number>();
  lastId = $state<number>();
  error = $state.raw<ApiError>();
  /** Set if no agent has reported in time; the scan continues. */
  waits = $state.raw<{ targetId: number; scanId: number }>();
  readonly #start: (scan: CreateHostScanRequest) => Promise<HostScanDetail>;
  readonly #fetch: (id: number, signal?: AbortSignal) => Promise<HostScanDetail>;
  readonly #pause: (ms: number) => Promise<void>;
  readonly #owner = new AbortController();

  constructor(
    start: (scan: CreateHostScanRequest) => Promise<HostScanDetail>,
    fetch: (id: number, signal?: AbortSignal) => Promise<HostScanDetail>,
    pause = (ms: number) => new Promise<void>((done) => setTimeout(done, ms)),
  ) {
    this.#start = start;
    this.#fetch = fetch;
    this.#pause = pause;
  }

  /** Looks at a target. Resolves true when the look is over. */
  async at(targetId: number): Promise<boolean> {
    if (this.busyWith !== undefined) return false;
    this.busyWith = targetId;
    this.lastId = targetId;
    this.error = undefined;
    this.waits = undefined;
    try {
      let scan = await this.#start({ kind: 'reach', selection: { targetIds: [targetId] } });
      for (let looks = 0; scan.completedAt === null && !this.#owner.signal.aborted; looks += 1) {
        if (looks === maxLooks) {
          this.waits = { targetId, scanId: scan.id };
          return false;
        }
        await this.#pause(everyMs);
        scan = await this.#fetch(scan.id, this.#owner.signal);
      }
      return !this.#owner.signal.aborted;
    } catch (error) {
      if (this.#owner.signal.aborted) return false;
      if (!(error instanceof ApiError)) throw error;
      this.error = error;
      return false;
    } finally {
      this.busyWith = undefined;
    }
  }

  stop(): void {
    this.#owner.abort();
  }
}
