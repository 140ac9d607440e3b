// One run as it progresses: read once, then kept up to date by its event stream.
import type {
  RunChange,
  RunDetail,
  Step,
  TargetRun,
  TransferEvent,
  TransferProgress,
} from '@opsconductor/protocol';
import { isRunEnded } from '@opsconductor/protocol';
import { ApiError, isPassing } from '../../api/client.ts';
import { followEvents, type StreamState } from '../../api/event-stream.ts';
import { pause, pauseMs } from '../../api/pauses.ts';
import { fetchRun, fetchRunSteps, fetchStepsOf, fetchTargetRuns } from '../../api/runs.ts';
import type { ServerEvent } from '../../api/sse-parser.ts';
import { apiPaths } from '../../paths.ts';
import { connection } from '../connection.svelte.ts';
import { byName } from './by-name.ts';

function failureOf(error: unknown): ApiError {
  const failed =
    error instanceof ApiError
      ? error
      : new ApiError('internal', 'The console had an internal error.', { cause: error });
  failed.asksAgain = isPassing(failed);
  return failed;
}

type StepChange = NonNullable<RunChange['steps']>[number];

export interface Host {
  targetRun: TargetRun;
  /** By step number, from index 0; empty for a host of a large run that nobody has looked at. */
  steps: Step[];
}

/** For a run with more steps, only those of hosts in view are read: a tab has no room for a million. */
const maxStepsRead = 5_000;
/** Most steps to keep of hosts that were in view. */
const maxStepsKept = 20_000;
/** Most hosts whose steps are requested at once. Of a job with few steps, one answer holds those of all of them. */
const maxHostsAsked = 40;
const hostsPerPage = 1_000;
/** A run with more hosts than this is redrawn less often, since each redraw takes tens of milliseconds. */
const maxHostsPerFrame = 1_000;
const slowPictureMs = 250;
/** How many passing failures to read steps are retried before the reader is told. */
const failuresUntold = 2;

/** Receives the live output of the step that the reader looks at. */
export interface OutputListener {
  stepId: number;
  /** How far it has read, `step.epoch.seq`, for the stream to resume from; undefined if it has nothing. */
  position(): string | undefined;
  take(event: ServerEvent): void | Promise<void>;
}

/**
 * How long after a change to read again what events don't carry: batches, reruns, what the person may do with the run.
 */
const detailAfterMs = 1_000;
/** How often to check what may still run of an ended run, since no event reports it any more. */
const untoldAfterMs = 5_000;

export class RunView {
  readonly id: number;
  run = $state.raw<RunDetail>();
  error = $state.raw<ApiError>();
  /** Why steps of hosts in view are missing. */
  stepsError = $state.raw<ApiError>();
  stream = $state<StreamState>('connecting');
  /** Whether all hosts have been read. */
  complete = $state(false);
  /** Whether that includes all their steps. If not, only those of hosts passed to `show` are read. */
  hasAllSteps = $state(true);
  /** Grows with each step that becomes held. Nothing else tells of held steps that have not been read. */
  holds = $state(0);
  #version = $state(0);
  readonly hosts: Host[] = $derived.by(() => {
    void this.#version;
    return [...this.#hosts.values()];
  });
  readonly #hosts = new Map<number, Host>();
  readonly #stepPlaces = new Map<number, { targetRunId: number; at: number }>();
  #transfers = $state.raw<ReadonlyMap<number, TransferEvent>>(new Map());
  readonly #owner = new AbortController();
  #connection: AbortController | undefined;
  #isReading = false;
  /** Ends the pause before a failed reading is retried. */
  #pausing: AbortController | undefined;
  /** Page of hosts at which reading continues. */
  #cursor: string | undefined;
  /** Ids of the hosts on the pages before that. */
  #seen = new Set<number>();
  /** Ids of the hosts in view, in the order in which to read their steps. */
  #shown: readonly number[] = [];
  /** Ids of the hosts whose steps have been read, in the order of reading. */
  readonly #read = new Set<number>();
  #isReadingSteps = false;
  /** Ends the pause before a failed reading of steps is retried. */
  #stepsPausing: AbortController | undefined;
  /** Grows when the run is read from the start, so that answers to earlier requests are ignored. */
  #reading = 0;
  /** Changes to steps that came while steps were being read, since the answer may be older than they are. */
  readonly #meanwhile = new Map<number, StepChange>();
  #listener: OutputListener | undefined;
  /** Id of the newest event that is applied, without the positions in outputs. */
  #eventId = '';
  /** Servers of an earlier version, which may answer during an upgrade, don't say which part of the run it is. */
  #isPartKnown = false;
  #frame: number | undefined;
  #slowFrame: ReturnType<typeof setTimeout> | undefined;
  #down = false;
  #detailTimer: ReturnType<typeof setTimeout> | undefined;
  #untoldTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(id: number) {
    this.id = id;
  }

  /** Reads the run, retrying passing failures without limit, then follows it until `stop`. */
  async start(): Promise<void> {
    const { signal } = this.#owner;
    if (this.#isReading) return;
    this.#isReading = true;
    for (let failures = 0; !signal.aborted; failures += 1) {
      try {
        await this.#readAll();
        if (signal.aborted) return;
        this.error = undefined;
        this.#setDown(false);
        this.#connect();
        break;
      } catch (error) {
        if (signal.aborted) return;
        const failed = failureOf(error);
        this.error = failed;
        // The run is not live until it has been read completely.
        this.#setDown(failed.asksAgain);
        if (!failed.asksAgain) break;
        this.#pausing = new AbortController();
        await pause(pauseMs(failures), this.#pausing.signal);
        this.#pausing = undefined;
      }
    }
    this.#isReading = false;
  }

  /** Retries at once what failed. */
  again(): void {
    if (this.#pausing === undefined) void this.start();
    else this.#pausing.abort();
  }

  /** Retries at once to read the steps that could not be read. */
  readStepsAgain(): void {
    this.#stepsPausing?.abort();
    this.stepsError = undefined;
    void this.#readSteps();
  }

  stop(): void {
    this.#owner.abort();
    this.#pausing?.abort();
    this.#stepsPausing?.abort();
    this.#connection?.abort();
    clearTimeout(this.#detailTimer);
    clearTimeout(this.#untoldTimer);
    clearTimeout(this.#slowFrame);
    if (this.#frame !== undefined) cancelAnimationFrame(this.#frame);
    this.#setDown(false);
  }

  /** Says which hosts are in view. If not all steps are read, reads the steps of these, in this order. */
  show(hosts: readonly number[]): void {
    this.#shown = hosts;
    void this.#readSteps();
  }

  /** Makes the stream carry a step's output too; with `undefined`, no longer. */
  listen(listener: OutputListener | undefined): void {
    if (this.#listener?.stepId === listener?.stepId && this.#listener === listener) return;
    this.#listener = listener;
    if (this.#connection !== undefined && this.stream !== 'ended') this.#connect();
  }

  host(targetRunId: number | undefined): Host | undefined {
    void this.#version;
    return targetRunId === undefined ? undefined : this.#hosts.get(targetRunId);
  }

  /** Returns the transfer progress of a step's current attempt; undefined if it moves no files. */
  progressOf(step: Step): TransferProgress | undefined {
    const event = this.#transfers.get(step.id);
    return event?.attempt === step.attempt ? event.progress : undefined;
  }

  #noteTransfer(event: TransferEvent) {
    this.#transfers = new Map([...this.#transfers, [event.stepId, event]]);
  }

  async #readAll(): Promise<void> {
    const { signal } = this.#owner;
    if (this.#cursor === undefined) {
      const run = await fetchRun(this.id, signal);
      this.run = run;
      const { eventId, eventSeq }: Partial<RunDetail> = run;
      this.#eventId = eventId ?? String(eventSeq);
      this.#isPartKnown = eventId !== undefined;
      this.#lookAgainIfUntold();
      this.#seen = new Set();
      this.hasAllSteps = !(run.totalSteps > maxStepsRead);
    }
    if (!this.hasAllSteps && !(await this.#readHosts())) this.hasAllSteps = true;
    if (this.hasAllSteps) await this.#readHostsWithSteps();
    for (const id of this.#hosts.keys()) if (!this.#seen.has(id)) this.#hosts.delete(id);
    if (!this.hasAllSteps) this.#sort();
    // Set both together: whatever reacts to `complete` must see all hosts.
    this.#version += 1;
    this.complete = true;
    this.stepsError = undefined;
    void this.#readSteps();
  }

  async #readHostsWithSteps(): Promise<void> {
    do {
      const page = await fetchRunSteps(this.id, { limit: 200, ...this.#at() }, this.#owner.signal);
      for (const targetRun of page.targetRuns) {
        this.#seen.add(targetRun.id);
        this.#hosts.set(targetRun.id, { targetRun, steps: [] });
      }
      for (const step of page.steps) this.#place(step);
      this.#cursor = page.nextCursor ?? undefined;
      this.#bump();
    } while (this.#cursor !== undefined);
  }

  /** Returns false if the server lacks this route: during an upgrade, one of an earlier version may answer. */
  async #readHosts(): Promise<boolean> {
    do {
      const query = { limit: hostsPerPage, ...this.#at() };
      const page = await fetchTargetRuns(this.id, query, this.#owner.signal).catch((error) => {
        if (error instanceof ApiError && error.code === 'not_found') return undefined;
        throw error;
      });
      if (page === undefined) {
        this.#cursor = undefined;
        return false;
      }
      for (const targetRun of page.items) {
        this.#seen.add(targetRun.id);
        this.#forget(targetRun.id);
        this.#hosts.set(targetRun.id, { targetRun, steps: [] });
      }
      this.#cursor = page.nextCursor ?? undefined;
      this.#bump();
    } while (this.#cursor !== undefined);
    return true;
  }

  /** Sorts the hosts by name once, as sorting ten thousand unsorted ones for each redraw would take too long. */
  #sort(): void {
    const sorted = [...this.#hosts.values()].sort(byName);
    this.#hosts.clear();
    for (const host of sorted) this.#hosts.set(host.targetRun.id, host);
  }

  #at(): { cursor?: string } {
    return this.#cursor === undefined ? {} : { cursor: this.#cursor };
  }

  /** Reads steps until all hosts in view have theirs, including hosts that come into view meanwhile. */
  async #readSteps(): Promise<void> {
    const { signal } = this.#owner;
    // A permanent failure is retried when somebody asks for it, not with each redraw.
    if (this.#isReadingSteps || this.hasAllSteps || this.stepsError !== undefined) return;
    this.#isReadingSteps = true;
    try {
      for (let failures = 0; !signal.aborted && this.complete; ) {
        const missing = this.#shown.filter((id) => this.#hosts.has(id) && !this.#read.has(id));
        if (missing.length === 0) {
          this.stepsError = undefined;
          return;
        }
        try {
          await this.#readStepsOf(missing.slice(0, maxHostsAsked));
          failures = 0;
          this.stepsError = undefined;
        } catch (error) {
          if (signal.aborted) return;
          const failed = failureOf(error);
          if (!failed.asksAgain || failures >= failuresUntold) this.stepsError = failed;
          if (!failed.asksAgain) return;
          this.#stepsPausing = new AbortController();
          await pause(pauseMs(failures), this.#stepsPausing.signal);
          this.#stepsPausing = undefined;
          failures += 1;
        }
      }
    } finally {
      this.#meanwhile.clear();
      this.#isReadingSteps = false;
    }
  }

  async #readStepsOf(ids: readonly number[]): Promise<void> {
    const reading = this.#reading;
    this.#meanwhile.clear();
    const steps = await fetchStepsOf(this.id, ids, this.#owner.signal);
    if (reading !== this.#reading) return;
    for (const id of ids) {
      const host = this.#hosts.get(id);
      this.#read.add(id);
      if (host !== undefined) this.#hosts.set(id, { ...host, steps: [] });
    }
    for (const step of steps) this.#place({ ...step, ...this.#meanwhile.get(step.id) } as Step);
    this.#forgetUnseen();
    this.#drawSoon();
  }

  /** Drops steps of hosts out of view, those read first, down to the limit. They are read again when needed. */
  #forgetUnseen(): void {
    const most = Math.ceil(maxStepsKept / Math.max(1, this.run?.steps.length ?? 1));
    const shown = new Set(this.#shown);
    for (const id of this.#read) {
      if (this.#read.size <= most) return;
      if (!shown.has(id)) this.#forget(id);
    }
  }

  #forget(id: number): void {
    const host = this.#hosts.get(id);
    if (!this.#read.delete(id) || host === undefined) return;
    for (const step of host.steps) this.#stepPlaces.delete(step.id);
    this.#hosts.set(id, { ...host, steps: [] });
  }

  #place(step: Step) {
    const host = this.#hosts.get(step.targetRunId);
    if (host === undefined) return;
    const at = step.stepNumber - 1;
    host.steps[at] = step;
    this.#stepPlaces.set(step.id, { targetRunId: step.targetRunId, at });
  }

  #connect() {
    this.#connection?.abort();
    if (this.run !== undefined && isRunEnded(this.run.status) && this.#listener === undefined) {
      this.stream = 'ended';
      return;
    }
    const current = new AbortController();
    this.#connection = current;
    const listener = this.#listener;
    const position = listener?.position();
    void followEvents({
      url: apiPaths.runEvents(this.id, listener === undefined ? {} : { output: listener.stepId }),
      lastEventId: position === undefined ? this.#eventId : `${this.#eventId}~${position}`,
      signal: current.signal,
      onState: (state, error) => {
        if (current.signal.aborted) return;
        this.stream = state;
        this.#setDown(state === 'waiting');
        if (state === 'failed' && error?.code === 'not_found') this.error = error;
      },
      onEvent: async (event, lastEventId) => {
        if (current.signal.aborted) return;
        connection.heard();
        const [eventId = ''] = lastEventId.split('~');
        if (this.#isPartKnown && partOf(eventId) !== partOf(this.#eventId)) return this.#startAnew();
        this.#eventId = eventId;
        if (event.event === 'change') this.#apply(JSON.parse(event.data) as RunChange);
        else if (event.event === 'transfer') this.#noteTransfer(JSON.parse(event.data) as TransferEvent);
        else await listener?.take(event);
      },
    });
  }

  /** Starts over because the reader now sees another part of the run, with other hosts and numbers. */
  #startAnew() {
    this.#connection?.abort();
    this.#connection = undefined;
    this.#reading += 1;
    this.complete = false;
    void this.start();
  }

  #setDown(down: boolean) {
    if (down === this.#down) return;
    this.#down = down;
    if (down) connection.streamDown();
    else connection.streamUp();
  }

  #apply(change: RunChange) {
    // What was read after the change already includes it. Changes carry whole values, so applying one twice is
    // harmless.
    if (change.run !== undefined && this.run !== undefined) this.run = { ...this.run, ...change.run };
    if (this.#hasMoreToSay(change)) this.readDetailSoon();
    for (const changed of change.targetRuns ?? []) {
      const host = this.#hosts.get(changed.id);
      if (host !== undefined)
        this.#hosts.set(changed.id, { ...host, targetRun: { ...host.targetRun, ...changed } });
    }
    for (const changed of change.steps ?? []) {
      if (changed.status === 'held') this.holds += 1;
      if (this.#isReadingSteps)
        this.#meanwhile.set(changed.id, { ...this.#meanwhile.get(changed.id), ...changed });
      const place = this.#stepPlaces.get(changed.id);
      const host = place === undefined ? undefined : this.#hosts.get(place.targetRunId);
      const step = place === undefined ? undefined : host?.steps[place.at];
      if (place === undefined || host === undefined || step === undefined) continue;
      const steps = [...host.steps];
      steps[place.at] = { ...step, ...changed } as Step;
      this.#hosts.set(place.targetRunId, { ...host, steps });
    }
    this.#bump();
  }

  /** Events don't carry the progress of batches, who stopped a run and why, or what may still run once it has ended. */
  #hasMoreToSay(change: RunChange): boolean {
    if (change.run === undefined && change.targetRuns === undefined) return false;
    if (this.run !== undefined && isRunEnded(this.run.status) && this.run.targetsUnknown > 0) return true;
    const isStopping = this.run?.status === 'cancelling' && this.run.cancelRequestedAt === null;
    return isStopping || (this.run?.strategy ?? null) !== null || (this.run?.timeoutS ?? null) !== null;
  }

  /** Reads the run's details again, at most once a second. */
  readDetailSoon() {
    this.#detailTimer ??= setTimeout(() => void this.#readDetail(), detailAfterMs);
  }

  async #readDetail(): Promise<void> {
    const { signal } = this.#owner;
    try {
      const read = await fetchRun(this.id, signal);
      const { strategy, stopReason, reruns, cancelRequestedAt, cancelRequestedBy } = read;
      const { untoldAttempts, mayRun, mayCancel } = read;
      if (signal.aborted || this.run === undefined) return;
      const stopped = { stopReason, cancelRequestedAt, cancelRequestedBy };
      this.run = {
        ...this.run,
        strategy,
        reruns,
        ...stopped,
        ...(mayRun === undefined ? {} : { mayRun }),
        ...(mayCancel === undefined ? {} : { mayCancel }),
        ...(untoldAttempts === undefined ? {} : { untoldAttempts }),
      };
    } catch (error) {
      // The next change reads again, and the stream shows if the server is away.
      if (!(error instanceof ApiError) && !signal.aborted) throw error;
    } finally {
      this.#detailTimer = undefined;
      this.#lookAgainIfUntold();
    }
  }

  /** Keeps checking an ended run with unreported attempts: an agent that comes back may report them at any time. */
  #lookAgainIfUntold() {
    const { status, untoldAttempts = 0 } = this.run ?? {};
    if (status === undefined || !isRunEnded(status) || untoldAttempts === 0 || this.#owner.signal.aborted)
      return;
    clearTimeout(this.#untoldTimer);
    this.#untoldTimer = setTimeout(() => void this.#readDetail(), untoldAfterMs);
  }

  /** Redraws soon: at most once per frame, however fast changes come. */
  #bump() {
    if (this.#hosts.size <= maxHostsPerFrame) this.#drawSoon();
    else
      this.#slowFrame ??= setTimeout(() => {
        this.#slowFrame = undefined;
        this.#drawSoon();
      }, slowPictureMs);
  }

  #drawSoon() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = undefined;
      this.#version += 1;
    });
  }
}

/** Returns the tag that event ids have if the reader sees only a part of the run. */
function partOf(eventId: string): string | undefined {
  return eventId.includes('.') ? eventId.split('.')[0] : undefined;
}
