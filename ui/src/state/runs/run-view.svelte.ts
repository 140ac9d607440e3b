// One run as it progresses: read once, then kept up to date by its event stream.
import type { RunChange, RunDetail, Step, TransferEvent, TransferProgress } from '@opsconductor/protocol';
import { isRunEnded } from '@opsconductor/protocol';
import { ApiError, failureOf, isPassing } from '../../api/client.ts';
import { followEvents, type StreamState } from '../../api/event-stream.ts';
import { pause, pauseMs } from '../../api/pauses.ts';
import { fetchRun, fetchRunSteps, fetchTargetRuns } from '../../api/runs.ts';
import type { ServerEvent } from '../../api/sse-parser.ts';
import { apiPaths } from '../../paths.ts';
import { connection } from '../connection.svelte.ts';
import { type Host, RunHosts } from './run-hosts.svelte.ts';
import { StepsInView } from './steps-in-view.svelte.ts';

/** For a run with more steps, only those of hosts in view are read: a tab has no room for a million. */
const maxStepsRead = 5_000;
const hostsPerPage = 1_000;
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
  stream = $state<StreamState>('connecting');
  /** Whether all hosts have been read. */
  complete = $state(false);
  /** Whether that includes all their steps. If not, only those of hosts passed to `show` are read. */
  hasAllSteps = $state(true);
  /** Grows with each step that becomes held. Nothing else tells of held steps that have not been read. */
  holds = $state(0);
  #transfers = $state.raw<ReadonlyMap<number, TransferEvent>>(new Map());
  readonly #owner = new AbortController();
  readonly #hosts = new RunHosts();
  readonly #stepsInView: StepsInView;
  #connection: AbortController | undefined;
  #isReading = false;
  /** Ends the pause before a failed reading is retried. */
  #pausing: AbortController | undefined;
  /** Page of hosts at which reading continues. */
  #cursor: string | undefined;
  /** Ids of the hosts on the pages before that. */
  #seen = new Set<number>();
  #listener: OutputListener | undefined;
  /** Id of the newest event that is applied, without the positions in outputs. */
  #eventId = '';
  /** Servers of an earlier version, which may answer during an upgrade, don't say which part of the run it is. */
  #isPartKnown = false;
  #down = false;
  #detailTimer: ReturnType<typeof setTimeout> | undefined;
  #untoldTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(id: number) {
    this.id = id;
    this.#stepsInView = new StepsInView({
      runId: id,
      hosts: this.#hosts,
      signal: this.#owner.signal,
      isNeeded: () => this.complete && !this.hasAllSteps,
      stepsPerHost: () => this.run?.steps.length ?? 1,
    });
  }

  get hosts(): Host[] {
    return this.#hosts.all;
  }

  /** Why steps of hosts in view are missing. */
  get stepsError(): ApiError | undefined {
    return this.#stepsInView.error;
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
        failed.asksAgain = isPassing(failed);
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
    this.#stepsInView.readAtOnce();
  }

  stop(): void {
    this.#owner.abort();
    this.#pausing?.abort();
    this.#stepsInView.stop();
    this.#connection?.abort();
    clearTimeout(this.#detailTimer);
    clearTimeout(this.#untoldTimer);
    this.#hosts.stop();
    this.#setDown(false);
  }

  /** Says which hosts are in view. If not all steps are read, reads the steps of these, in this order. */
  show(hosts: readonly number[]): void {
    this.#stepsInView.show(hosts);
  }

  /** Makes the stream carry a step's output too; with `undefined`, no longer. */
  listen(listener: OutputListener | undefined): void {
    if (this.#listener?.stepId === listener?.stepId && this.#listener === listener) return;
    this.#listener = listener;
    if (this.#connection !== undefined && this.stream !== 'ended') this.#connect();
  }

  host(targetRunId: number | undefined): Host | undefined {
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
    this.#hosts.keepOnly(this.#seen);
    if (!this.hasAllSteps) this.#hosts.sort();
    // Set both together: whatever reacts to `complete` must see all hosts.
    this.#hosts.draw();
    this.complete = true;
    this.#stepsInView.read();
  }

  async #readHostsWithSteps(): Promise<void> {
    do {
      const page = await fetchRunSteps(this.id, { limit: 200, ...this.#at() }, this.#owner.signal);
      for (const targetRun of page.targetRuns) {
        this.#seen.add(targetRun.id);
        this.#hosts.set(targetRun);
      }
      for (const step of page.steps) this.#hosts.setStep(step);
      this.#cursor = page.nextCursor ?? undefined;
      this.#hosts.drawChanges();
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
        this.#stepsInView.forget(targetRun.id);
        this.#hosts.set(targetRun);
      }
      this.#cursor = page.nextCursor ?? undefined;
      this.#hosts.drawChanges();
    } while (this.#cursor !== undefined);
    return true;
  }

  #at(): { cursor?: string } {
    return this.#cursor === undefined ? {} : { cursor: this.#cursor };
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
    this.#stepsInView.ignoreAnswers();
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
    for (const changed of change.steps ?? []) {
      if (changed.status === 'held') this.holds += 1;
      this.#stepsInView.changed(changed);
    }
    this.#hosts.apply(change);
    this.#hosts.drawChanges();
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
}

/** Returns the tag that event ids have if the reader sees only a part of the run. */
function partOf(eventId: string): string | undefined {
  return eventId.includes('.') ? eventId.split('.')[0] : undefined;
}
