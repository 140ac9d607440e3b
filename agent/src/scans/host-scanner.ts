// Scans targets that the server names, several at a time, and reports them as they finish. Nothing is kept: what was
// not reported when a connection ends, the server asks for again.
import {
  type AgentMessage,
  limits,
  type ScannedHost,
  type ServerMessageOf,
  timeLimit,
} from '@opsconductor/protocol';
import { type CredentialOpener, NoSegmentKey } from '../execution/secrets/credential-opener.ts';
import type { Logger } from '../log.ts';
import type { PolicyGuard } from '../policy/policy-guard.ts';
import {
  connectTimeoutMs,
  failedScan,
  type ScanOptions,
  type ScanTarget,
  scanHost,
} from '../ssh/host-keys/scan-host.ts';
import type { SshPool } from '../ssh/pool/pool.ts';
import { resolveTarget } from '../ssh/resolve-target.ts';
import { SshError } from '../ssh/ssh-error.ts';

const gatherMs = 200;

export interface HostScannerOptions {
  policy: Pick<PolicyGuard, 'checkTarget' | 'checkAddresses'>;
  opener: Pick<CredentialOpener, 'openWay'>;
  /** Keeps the connections to jump hosts. */
  pool: Pick<SshPool, 'reach'>;
  atATime?: number;
  timeoutMs?: number;
  scan?: (target: ScanTarget, options: ScanOptions) => Promise<ScannedHost>;
  log: Pick<Logger, 'error'>;
}

interface Asked {
  target: ScanTarget & { name?: string };
  scan: ServerMessageOf<'scan_hosts'>;
}

type Jumps = NonNullable<ServerMessageOf<'scan_hosts'>['jumps']>;

export class HostScanner {
  readonly #options: Required<HostScannerOptions>;
  #waiting: Asked[] = [];
  #running = new Map<Asked, AbortController>();
  #told = new Map<number, ScannedHost[]>();
  #timer: NodeJS.Timeout | undefined;
  #send: ((message: AgentMessage) => void) | undefined;

  constructor(options: HostScannerOptions) {
    this.#options = {
      atATime: limits.maxScansAtATime,
      timeoutMs: limits.scanTimeoutMs,
      scan: scanHost,
      ...options,
    };
  }

  /** A session began; results are sent to it. */
  began(send: (message: AgentMessage) => void): void {
    this.#send = send;
  }

  /** The session is over, and with it everything that was asked for in it. */
  ended(): void {
    this.#send = undefined;
    this.#waiting = [];
    for (const controller of this.#running.values()) controller.abort();
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#told.clear();
  }

  onScan(scan: ServerMessageOf<'scan_hosts'>): void {
    for (const target of scan.targets) this.#waiting.push({ target, scan });
    this.#next();
  }

  onCancel(scanId: number): void {
    this.#waiting = this.#waiting.filter(({ scan }) => scan.scanId !== scanId);
    for (const [{ scan }, controller] of this.#running) if (scan.scanId === scanId) controller.abort();
    this.#told.delete(scanId);
  }

  #next(): void {
    while (this.#running.size < this.#options.atATime) {
      const asked = this.#waiting.shift();
      if (asked === undefined) return;
      const stop = new AbortController();
      this.#running.set(asked, stop);
      void this.#look(asked, stop.signal);
    }
  }

  /** Never rejects. */
  async #look({ target, scan }: Asked, stopped: AbortSignal): Promise<void> {
    const { timeoutMs } = this.#options;
    const { kind, hostAuthorities, jumps } = scan;
    const signal = AbortSignal.any([stopped, timeLimit(timeoutMs)]);
    const resolve = (name: string) => this.#resolve(target, name);
    const options = { kind, signal, resolve, ...(hostAuthorities === undefined ? {} : { hostAuthorities }) };
    let host: ScannedHost;
    try {
      this.#options.policy.checkTarget(target);
      const way = jumps === undefined ? {} : { connect: await this.#through(jumps, target, signal) };
      host = await this.#options.scan(target, { ...options, ...way });
    } catch (error) {
      host = failedScan(target.id, error, timeoutMs);
      // The result refers people to the log.
      if (host.reason === 'internal' && !stopped.aborted)
        this.#options.log.error(
          { err: error, target: target.id },
          'the scan of a target failed in an unexpected way; report this bug',
        );
    }
    for (const asked of this.#running.keys()) {
      if (asked.target === target) this.#running.delete(asked);
    }
    if (!stopped.aborted) this.#tell(scan.scanId, host);
    this.#next();
  }

  /** Returns what connects to the target from the last jump host. */
  async #through(
    jumps: Jumps,
    { name, ...target }: Asked['target'],
    signal: AbortSignal,
  ): Promise<NonNullable<ScanOptions['connect']>> {
    const { opener, pool, policy } = this.#options;
    const behind = { ...target, name: name ?? target.host, hostKeys: [], jumps };
    const way = await opener.openWay(behind).catch((error: unknown) => {
      throw error instanceof NoSegmentKey ? noSegmentKey(error) : error;
    });
    const checkAddresses = (found: readonly string[]) => policy.checkAddresses(target, found);
    return () => pool.reach({ target: way.target, checkAddresses }, { signal, connectTimeoutMs });
  }

  async #resolve(target: ScanTarget, name: string): Promise<string[]> {
    const addresses = await resolveTarget(name);
    this.#options.policy.checkAddresses(target, addresses);
    return addresses;
  }

  #tell(scanId: number, host: ScannedHost): void {
    const hosts = this.#told.get(scanId) ?? [];
    hosts.push(host);
    this.#told.set(scanId, hosts);
    if (hosts.length >= limits.maxScansGiven) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), gatherMs);
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const [scanId, hosts] of this.#told) this.#send?.({ type: 'hosts_scanned', scanId, hosts });
    this.#told.clear();
  }
}

function noSegmentKey(error: NoSegmentKey): SshError {
  return new SshError({
    reason: 'credential_unusable',
    message: `${error.message}, which opens the jump hosts on the way.`,
    advice: error.advice,
  });
}
