// What this server process counts of its own work, and how it fares. Each server has counts of its own, which begin at
// zero when it starts: a monitoring system adds them up.
import { isRunEnded, isStepEnded, runStatuses, stepStatuses } from '@opsconductor/protocol';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { EndedCounts } from '../runs/progress/run-ledger.ts';

export interface AnsweredRequest {
  method: string;
  /** The path of its route with parameters, as in `/api/v1/runs/:id`; undefined for all that is no route of the API. */
  route: string | undefined;
  status: number;
  /** Until the answer begins, in seconds. */
  seconds: number;
}

/** In seconds. */
const requestBuckets = [0.005, 0.025, 0.1, 0.5, 2.5, 10];
/** Stands for all paths that are no route of the API: what strangers ask for must not become labels. */
const otherRoute = 'other';

export class ServerMetrics {
  readonly registry = new Registry();
  readonly #runs: Counter<'status'>;
  readonly #steps: Counter<'status'>;
  readonly #output: Counter;
  readonly #requests: Counter<'method' | 'route' | 'status'>;
  readonly #durations: Histogram<'method' | 'route'>;
  readonly #certificate: Gauge;

  constructor() {
    const registers = [this.registry];
    this.#runs = new Counter({
      registers,
      name: 'opsconductor_runs_ended_total',
      help: 'Runs that this server ended, by status.',
      labelNames: ['status'],
    });
    this.#steps = new Counter({
      registers,
      name: 'opsconductor_steps_ended_total',
      help: 'Steps of target runs that this server ended, by status; one that a late result decides counts again.',
      labelNames: ['status'],
    });
    this.#output = new Counter({
      registers,
      name: 'opsconductor_output_bytes_total',
      help: 'Bytes of output that this server stored, before compression.',
    });
    this.#requests = new Counter({
      registers,
      name: 'opsconductor_http_requests_total',
      help: 'Requests answered, by method, route and status.',
      labelNames: ['method', 'route', 'status'],
    });
    this.#durations = new Histogram({
      registers,
      name: 'opsconductor_http_request_duration_seconds',
      help: 'Time from a request to the beginning of its answer, by method and route.',
      labelNames: ['method', 'route'],
      buckets: requestBuckets,
    });
    this.#certificate = new Gauge({
      registers: [],
      name: 'opsconductor_certificate_expiry_timestamp_seconds',
      help: 'When the certificate that this server shows expires, as Unix time.',
    });
    // A counter that first appears with its first event has not grown, as a monitoring system sees it.
    for (const status of runStatuses) if (isRunEnded(status)) this.#runs.inc({ status }, 0);
    for (const status of stepStatuses) if (isStepEnded(status)) this.#steps.inc({ status }, 0);
    this.#addProcess();
  }

  /** `count` is asked at each fetch. */
  showConnectedAgents(count: () => number): void {
    this.#addGauge('opsconductor_agent_connections', 'Agents that are connected to this server.', count);
  }

  countEnded({ runs, steps }: EndedCounts): void {
    for (const [status, count] of runs) this.#runs.inc({ status }, count);
    for (const [status, count] of steps) this.#steps.inc({ status }, count);
  }

  countOutput(bytes: number): void {
    this.#output.inc(bytes);
  }

  countRequest({ method, route = otherRoute, status, seconds }: AnsweredRequest): void {
    const labels = { method: route === otherRoute ? otherRoute : method, route };
    this.#requests.inc({ ...labels, status });
    this.#durations.observe(labels, seconds);
  }

  /** To be called with each certificate that is taken into use. */
  setCertificateExpiry(validTo: Date): void {
    this.registry.registerMetric(this.#certificate);
    this.#certificate.set(validTo.getTime() / 1_000);
  }

  #addGauge(name: string, help: string, value: () => number): void {
    new Gauge({
      registers: [this.registry],
      name,
      help,
      collect() {
        this.set(value());
      },
    });
  }

  #addCounter(name: string, help: string, value: () => number): void {
    new Counter({
      registers: [this.registry],
      name,
      help,
      collect() {
        this.reset();
        this.inc(value());
      },
    });
  }

  /**
   * Only what costs nothing between two fetches: the library's own set watches each garbage collection and wakes up a
   * hundred times a second.
   */
  #addProcess(): void {
    const { version } = process;
    new Gauge({
      registers: [this.registry],
      name: 'nodejs_version_info',
      help: 'The Node.js that this server runs on: always 1, the version is in the label.',
      labelNames: ['version'],
    }).set({ version }, 1);
    const startedS = Math.round(performance.timeOrigin) / 1_000;
    this.#addGauge(
      'process_start_time_seconds',
      'When this server process started, as Unix time.',
      () => startedS,
    );
    this.#addCounter('process_cpu_seconds_total', 'Processor time of this server process.', () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    });
    this.#addGauge('process_resident_memory_bytes', 'Memory of this server process.', () =>
      process.memoryUsage.rss(),
    );
    this.#addGauge(
      'nodejs_heap_size_used_bytes',
      'Memory in use for JavaScript objects.',
      () => process.memoryUsage().heapUsed,
    );
    this.#addCounter(
      'nodejs_eventloop_active_seconds_total',
      'Time in which the event loop had work; at 1 s per second, the server can’t keep up.',
      () => performance.eventLoopUtilization().active / 1_000,
    );
  }
}
