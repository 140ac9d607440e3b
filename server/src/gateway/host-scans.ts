// Gives targets of scans to agents of their segments that can scan, a few ahead each, and records what they report.
// What an agent held when its connection ended is given out again.
import { type AgentMessageOf, type LeaseJump, limits, type ServerMessageOf } from '@opsconductor/protocol';
import { hostTrustOf } from '../host-keys/host-trust-of.ts';
import { recordScanned } from '../host-keys/record-scanned.ts';
import type { Log } from '../log.ts';
import type { Sql } from '../store/database/connection.ts';
import { isRefused, withoutRefused } from '../store/database/refused-statement.ts';
import {
  type GivenItem,
  giveItems,
  itemsOfSession,
  itemsToGive,
  type RefusedItem,
  type ScanItemKey,
  segmentsToScan,
  sweepScans,
  takeBackItems,
} from '../store/host-keys/host-scans.ts';
import { readTrust } from '../store/host-keys/host-trust.ts';
import { connectionOf } from '../targets/connection-of.ts';
import { jumpsTo, type KnownJumpHosts, wayOf } from '../targets/jump-hosts.ts';
import type { AgentLink } from './link/agent-link.ts';

const pollMs = 2_000;
/** An agent is given more targets when it has room for at least this many. */
const minRoom = 32;
/** A target that the database refuses to give out, or to take back, is left out for this long. */
const refusedForMs = 60_000;

type Place = { host: string; port: number; connectTimeoutS?: number };
interface Scanner {
  link: AgentLink;
  /** Addresses that it was sent to, by `scan.target`. */
  given: Map<string, Place>;
}

export interface HostScansDeps {
  sql: Sql;
  log: Log;
  pollMs?: number | undefined;
}

export class HostScans {
  readonly #deps: HostScansDeps;
  readonly #scanners = new Map<AgentLink, Scanner>();
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> | undefined;
  #again = false;
  #stopped = false;
  /** Targets that the database refused to give out, by `scan.target`, and until when they are left out. */
  readonly #refused = new Map<string, ScanItemKey & { untilMs: number }>();
  #sweepsAgainMs = 0;

  constructor(deps: HostScansDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#timer = setInterval(() => this.#poll(), this.#deps.pollMs ?? pollMs);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    await this.#round;
  }

  /** Adds an agent whose session is ready. What its earlier sessions held is given out again. */
  async ready(link: AgentLink, canScan: boolean): Promise<void> {
    const { agentId, sessionNumber } = link;
    this.#noteKept(await takeBackItems(this.#deps.sql, { agentId, sessionNumber }, { including: false }));
    // If it has closed meanwhile, `closed` was already called and nothing would remove it again.
    if (canScan && link.isOpen) this.#scanners.set(link, { link, given: new Map() });
    this.wake();
  }

  async closed(link: AgentLink): Promise<void> {
    const { agentId, sessionNumber } = link;
    const scanner = this.#scanners.get(link);
    if (!this.#scanners.delete(link) || scanner === undefined) return;
    await this.#round;
    this.#noteKept(await takeBackItems(this.#deps.sql, { agentId, sessionNumber }, { including: true }));
    this.wake();
  }

  /** Gives out targets, if there are any. */
  wake(): void {
    if (this.#stopped) return;
    if (this.#round !== undefined) {
      this.#again = true;
      return;
    }
    this.#round = this.#giveOut()
      .catch((error: unknown) =>
        this.#deps.log.warn(
          { err: error },
          'targets of scans could not be given to agents; this is retried every two seconds',
        ),
      )
      .finally(() => {
        this.#round = undefined;
        if (!this.#again) return;
        this.#again = false;
        this.wake();
      });
  }

  cancel(scanId: number): void {
    for (const { link, given } of this.#scanners.values()) {
      for (const key of [...given.keys()]) if (key.startsWith(`${scanId}.`)) given.delete(key);
      link.send({ type: 'scan_cancel', scanId });
    }
    this.wake();
  }

  async scanned(link: AgentLink, { scanId, hosts }: AgentMessageOf<'hosts_scanned'>): Promise<void> {
    const given = this.#scanners.get(link)?.given;
    if (given === undefined) return;
    const { agentId } = link;
    const refused = await recordScanned(this.#deps.sql, { agentId, scanId }, hosts, (targetId) => {
      const place = given.get(`${scanId}.${targetId}`);
      return place === undefined ? undefined : { host: place.host, port: place.port };
    });
    this.#noteUnrecorded(refused);
    for (const { targetId } of hosts) given.delete(`${scanId}.${targetId}`);
    if (limits.maxScansGiven - given.size >= minRoom) this.wake();
  }

  #poll(): void {
    // What the database has refused is not tried again every two seconds: each of these targets costs several statements.
    if (performance.now() < this.#sweepsAgainMs) {
      this.wake();
      return;
    }
    void sweepScans(this.#deps.sql).then(
      (refused) => {
        if (refused.length > 0) this.#sweepsAgainMs = performance.now() + refusedForMs;
        this.#noteKept(refused);
        this.wake();
      },
      (error: unknown) =>
        this.#deps.log.warn(
          { err: error },
          'overdue targets of scans could not be looked up; this is retried every two seconds',
        ),
    );
  }

  async #giveOut(): Promise<void> {
    if (this.#scanners.size === 0) return;
    const segments = new Set(await segmentsToScan(this.#deps.sql));
    for (const scanner of [...this.#scanners.values()]) {
      const { link, given } = scanner;
      if (!segments.has(link.segmentId) || link.isDraining) continue;
      if (limits.maxScansGiven - given.size < minRoom) await this.#forgetTaken(scanner);
      const room = limits.maxScansGiven - given.size;
      if (room >= minRoom) await this.#giveTo(scanner, room);
    }
  }

  /** What the agent did not report on in time was taken back, or was never sent to it, and leaves its room. */
  async #forgetTaken({ link, given }: Scanner): Promise<void> {
    const items = await itemsOfSession(this.#deps.sql, link);
    const still = new Set(items.map(({ scanId, targetId }) => `${scanId}.${targetId}`));
    for (const key of given.keys()) if (!still.has(key)) given.delete(key);
  }

  /** Takes waiting targets for an agent, except those that the database refuses to give out. */
  async #take({ agentId, segmentId, sessionNumber }: AgentLink, limit: number): Promise<GivenItem[]> {
    const { sql } = this.#deps;
    const agent = { agentId, segmentId, sessionNumber };
    const now = performance.now();
    for (const [key, { untilMs }] of this.#refused) if (untilMs <= now) this.#refused.delete(key);
    const but = [...this.#refused.values()];
    try {
      return await giveItems(sql, agent, { limit, but });
    } catch (error) {
      if (!isRefused(error)) throw error;
    }
    const given: GivenItem[] = [];
    const refused = await withoutRefused(await itemsToGive(sql, segmentId, { limit, but }), async (only) => {
      given.push(...(await giveItems(sql, agent, { limit, only })));
    });
    for (const { item } of refused)
      this.#refused.set(`${item.scanId}.${item.targetId}`, { ...item, untilMs: now + refusedForMs });
    this.#logRefused(
      refused,
      'the database refuses to give targets of scans to an agent; they are left out for a minute, and the others are given',
    );
    // Others may wait behind them.
    if (refused.length > 0) this.#again = true;
    return given;
  }

  #noteKept(refused: readonly RefusedItem[]): void {
    this.#logRefused(
      refused,
      'the database refuses to take back targets of scans, or to give them up; they stay as they are, and this is tried again',
    );
  }

  #noteUnrecorded(refused: readonly RefusedItem[]): void {
    this.#logRefused(
      refused,
      'the database refuses what an agent found at targets of a scan; these have failed, and what it found at others is recorded',
    );
  }

  #logRefused(refused: readonly RefusedItem[], text: string): void {
    const [first] = refused;
    if (first === undefined) return;
    this.#deps.log.error({ err: first.error, targets: refused.map(({ item }) => item) }, text);
  }

  async #giveTo({ link, given }: Scanner, room: number): Promise<void> {
    const { sql } = this.#deps;
    const { agentId, segmentId } = link;
    const items = await this.#take(link, room);
    if (items.length === 0) return;
    const trust = hostTrustOf(await readTrust(sql, segmentId));
    /** By scan and jump hosts, as all targets of a message are reached through the same jump hosts. */
    const messages = new Map<string, ServerMessageOf<'scan_hosts'>>();
    const known: KnownJumpHosts = new Map();
    for (const { scanId, kind, targetId, name, host, port: ownPort, settings } of items) {
      const { port, connectTimeoutS, jumpHosts } = connectionOf(settings, ownPort);
      const place: Place = { host, port, ...(connectTimeoutS === undefined ? {} : { connectTimeoutS }) };
      const way = wayOf(name, jumpHosts);
      const jumps = await jumpsFor(sql, link, { name, way }, known);
      if ('reason' in jumps) {
        const told = { targetId, ok: false, keys: [], ...jumps };
        this.#noteUnrecorded(await recordScanned(sql, { agentId, scanId }, [told], () => place));
        continue;
      }
      given.set(`${scanId}.${targetId}`, place);
      const key = JSON.stringify([scanId, ...way]);
      const message = messages.get(key) ?? {
        type: 'scan_hosts' as const,
        scanId,
        kind,
        targets: [],
        ...trust,
        ...(jumps.length === 0 ? {} : { jumps }),
      };
      message.targets.push({ id: targetId, ...(jumps.length === 0 ? {} : { name }), ...place });
      messages.set(key, message);
    }
    for (const message of messages.values()) link.send(message);
  }
}

/** Why a target can't be scanned. */
type NoWay = { reason: string; message: string; advice: string };

/**
 * Returns the jump hosts to use. A target behind a jump host is never scanned without it: in the agent's own network,
 * its address may belong to another machine, whose key would be taken for the target's.
 */
async function jumpsFor(
  sql: Sql,
  link: AgentLink,
  { name, way }: { name: string; way: readonly string[] },
  known: KnownJumpHosts,
): Promise<LeaseJump[] | NoWay> {
  if (way.length === 0) return [];
  if (!link.can('scan_jumps')) {
    return {
      reason: 'agent_too_old',
      message: `It is reached through a jump host, which agent ${link.name} is too old to pass with a scan.`,
      advice: 'Update the agent and scan again, or accept the key by a test of the target.',
    };
  }
  const jumps = await jumpsTo(sql, { name, segmentId: link.segmentId }, way, known);
  if (typeof jumps !== 'string') return jumps;
  return {
    reason: 'jump_host_failed',
    message: jumps,
    advice: 'Correct the jump hosts in the connection settings, or the target that they name.',
  };
}
