// Scans a host without logging in: whether an SSH server answers, and which host keys it proves to have.
import { once } from 'node:events';
import { Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import type { Duplex } from 'node:stream';
import type { HostAuthority, ScanKind, ScannedHost } from '@opsconductor/protocol';
import ssh2, { type ServerHostKeyAlgorithm } from 'ssh2';
import { dial, identification, writeTurnsWhole } from '../connect.ts';
import { handshakeError } from '../connect-errors.ts';
import { algorithmsByKeyType, hostKeyFingerprint, offeredHostKey } from '../host-key.ts';
import { resolveTarget } from '../resolve-target.ts';
import { SshError } from '../ssh-error.ts';
import { cutOff } from '../ssh2/bound-connection.ts';
import { limitGroup } from '../ssh2/group-exchange.ts';
import { watchKeyExchanges } from '../ssh2/key-exchanges.ts';
import { certificateAlgorithms, takeCertificates } from './certified-key-exchange.ts';
import { readCertificate, refuseCertificate } from './host-certificate.ts';

export interface ScanTarget {
  id: number;
  host: string;
  port: number;
  connectTimeoutS?: number;
}

export interface ScanOptions {
  kind: ScanKind;
  signal: AbortSignal;
  hostAuthorities?: readonly HostAuthority[];
  resolve?: (host: string) => Promise<string[]>;
  /** Opens a stream to the target if it isn't dialed from here; its name is not resolved here then. */
  connect?: () => Promise<Duplex>;
}

/**
 * Time for one address to answer, or for the last jump host to connect to the target, in ms, unless the target sets it.
 */
export const connectTimeoutMs = 5_000;
/** How much of what a host says first is looked through for its identification line. */
const maxGreetingBytes = 8_192;

/** Scans one host. Rejects with an `SshError`, or with the signal's reason. */
export async function scanHost(target: ScanTarget, options: ScanOptions): Promise<ScannedHost> {
  const addresses =
    options.connect === undefined ? await (options.resolve ?? resolveTarget)(target.host) : [];
  const look = new Look(target, addresses, options);
  if (options.kind === 'reach') {
    await look.greet();
    return { targetId: target.id, ok: true, keys: [], ...look.facts() };
  }
  return look.readKeys();
}

class Look {
  readonly #target: ScanTarget;
  readonly #options: ScanOptions;
  #addresses: string[];
  #serverVersion = '';
  /** What the host has said first, until its version is known. */
  #heard = '';
  #latencyMs: number | undefined;
  /** Host key algorithms that the server offers; undefined before the first key exchange. */
  #offered: string[] | undefined;

  constructor(target: ScanTarget, addresses: string[], options: ScanOptions) {
    this.#target = target;
    this.#addresses = addresses;
    this.#options = options;
  }

  facts(): Pick<ScannedHost, 'serverVersion' | 'latencyMs'> {
    const facts: Pick<ScannedHost, 'serverVersion' | 'latencyMs'> = { serverVersion: this.#serverVersion };
    if (this.#latencyMs !== undefined) facts.latencyMs = this.#latencyMs;
    return facts;
  }

  /** Waits for the server's identification line, and hangs up. */
  async greet(): Promise<void> {
    const { signal } = this.#options;
    const socket = await this.#dial();
    try {
      // A busy SSH server hangs up without a word, and without an error.
      const hungUp = once(socket, 'close', { signal }).then(() => {
        throw new Error('the connection was closed');
      });
      const greeted = new Promise<void>((resolve) =>
        socket.on('data', (bytes: Buffer) => {
          if (!this.#note(bytes)) resolve();
        }),
      );
      await Promise.race([greeted, hungUp]);
    } catch (error) {
      signal.throwIfAborted();
      throw this.#failed(error as Error, '');
    } finally {
      socket.destroy();
    }
    if (this.#serverVersion === '') {
      throw this.#failed(new Error('it says something else'));
    }
  }

  /** Connects once for each type of key, because a server presents one key at a time; first for a certificate. */
  async readKeys(): Promise<ScannedHost> {
    const result: ScannedHost = { targetId: this.#target.id, ok: true, keys: [] };
    const authorities = this.#options.hostAuthorities ?? [];
    if (authorities.length > 0) {
      const presented = await this.#readKey(certificateAlgorithms as readonly string[]);
      if (presented !== undefined) this.#judge(presented, authorities, result);
    }
    for (const algorithms of Object.values(algorithmsByKeyType)) {
      const presented = await this.#readKey(algorithms);
      if (presented === undefined) continue;
      const { line } = offeredHostKey(presented);
      if (!result.keys.includes(line)) result.keys.push(line);
    }
    if (result.keys.length === 0 && result.certified === undefined) {
      throw this.#failed(new Error('no matching host key format'));
    }
    return { ...result, ...this.facts() };
  }

  #judge(presented: Buffer, authorities: readonly HostAuthority[], result: ScannedHost): void {
    try {
      const certificate = readCertificate(presented);
      if (certificate === undefined) return;
      const problem = refuseCertificate(certificate, this.#target.host, authorities, Date.now());
      if (problem !== undefined) result.certificateProblem = `The certificate ${problem}.`.slice(0, 1_000);
      else {
        const keyId = certificate.keyId.replace(/[^\x20-\x7e]/g, '?').slice(0, 255);
        result.certified = { authority: hostKeyFingerprint(certificate.authority), keyId };
      }
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      result.certificateProblem = `The certificate can’t be read: ${why}.`.slice(0, 1_000);
    }
  }

  /**
   * Returns the key with which the server signs if only these algorithms are offered to it; undefined if it supports
   * none of them. Goes as far as the end of the key exchange.
   */
  async #readKey(algorithms: readonly string[]): Promise<Buffer | undefined> {
    if (this.#offered !== undefined && !algorithms.some((name) => this.#offered?.includes(name))) {
      return undefined;
    }
    const socket = await this.#dial();
    const client = new ssh2.Client();
    const { signal } = this.#options;
    let onAbort = () => {};
    try {
      return await new Promise<Buffer | undefined>((resolve, reject) => {
        let presented: Buffer | undefined;
        onAbort = () => reject(signal.reason);
        signal.addEventListener('abort', onAbort);
        client.on('error', (error) => {
          if (/no matching host key format/.test(error.message)) resolve(undefined);
          else reject(this.#failed(error));
        });
        client.once('close', () => reject(this.#failed(undefined)));
        // Only now has the server proven that it has the key that it presented.
        client.once('handshake', () => resolve(presented));
        client.connect({
          sock: socket,
          username: 'unused',
          readyTimeout: 0,
          algorithms: { serverHostKey: [...algorithms] as ServerHostKeyAlgorithm[], compress: ['none'] },
          hostVerifier: (key: Buffer) => {
            presented = key;
            return true;
          },
          authHandler: () => false as never,
        });
        watchKeyExchanges(client, (exchange) => {
          limitGroup(exchange);
          this.#offered = takeCertificates(exchange);
        });
        socket.on('data', (bytes: Buffer) => this.#note(bytes));
        if (signal.aborted) onAbort();
      });
    } finally {
      signal.removeEventListener('abort', onAbort);
      client.on('error', () => {});
      cutOff(socket);
    }
  }

  /** Returns why the host could not be scanned although its port answered. */
  #failed(cause: Error | undefined, serverVersion = this.#serverVersion): SshError {
    return handshakeError(this.#target, cause, { serverVersion, timeoutMs: connectTimeoutMs });
  }

  async #dial(): Promise<Duplex> {
    const { signal, connect } = this.#options;
    const startedAt = performance.now();
    const socket = await (connect === undefined
      ? dial(this.#target, this.#addresses, { signal, connectTimeoutMs })
      : connect());
    this.#latencyMs ??= Math.round((performance.now() - startedAt) * 10) / 10;
    this.#heard = '';
    socket.on('error', () => {});
    const answered = socket instanceof Socket ? socket.remoteAddress : undefined;
    // Only the address that answered is dialed next time: the ones before it were tried in vain.
    if (answered !== undefined && this.#addresses.includes(answered)) this.#addresses = [answered];
    return connect === undefined ? socket : writeTurnsWhole(socket);
  }

  /** Returns whether the identification line has begun and is still to end: a slow host sends it in pieces. */
  #note(bytes: Buffer): boolean {
    if (this.#serverVersion !== '' || this.#heard.length >= maxGreetingBytes) return false;
    this.#heard += bytes.toString('latin1', 0, maxGreetingBytes - this.#heard.length);
    const last = this.#heard.slice(this.#heard.lastIndexOf('\n') + 1);
    const isUnfinished = last !== '' && (last.startsWith('SSH-') || 'SSH-'.startsWith(last));
    if (isUnfinished && this.#heard.length < maxGreetingBytes) return true;
    this.#serverVersion = identification(Buffer.from(this.#heard, 'latin1'));
    return false;
  }
}

/** Returns the result for a target that could not be scanned. */
export function failedScan(targetId: number, error: unknown, timeoutMs: number): ScannedHost {
  if (error instanceof SshError) {
    const { reason, message, advice } = error;
    return {
      targetId,
      ok: false,
      keys: [],
      reason,
      message: message.slice(0, 1_000),
      advice: advice.slice(0, 1_000),
    };
  }
  if (error instanceof DOMException && error.name === 'TimeoutError') {
    return {
      targetId,
      ok: false,
      keys: [],
      reason: 'connect_timed_out',
      message: `The scan of the target did not finish within ${timeoutMs / 1_000} s.`,
      advice: 'Check that it is not overloaded, and scan it again.',
    };
  }
  const why = error instanceof Error ? error.message : String(error);
  return {
    targetId,
    ok: false,
    keys: [],
    reason: 'internal',
    message: `The scan failed in an unexpected way: ${why}`.slice(0, 1_000),
    advice: 'The agent’s log has the details.',
  };
}
