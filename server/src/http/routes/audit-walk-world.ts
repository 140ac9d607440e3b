// What the walk through all audited routes sends, and what it makes beforehand, by the same API: users, jobs, targets,
// and whatever else a route changes. Each is new, so that no request depends on an earlier one.
import type { Target, UserGroup } from '@opsconductor/protocol';
import { expect, vi } from 'vitest';
import { createSignInCode } from '../../auth/sign-in/sign-in-codes.ts';
import { enrollRequest, makeAgentKeys, makeToken } from '../../segments/testing.ts';
import type { Services } from '../../services.ts';
import { enter, makeWorld, servicesOf, type World } from '../authorization/authorization-world.ts';

export interface Act {
  path: string;
  json?: unknown;
  /** A session to use instead of the administrator's API token. */
  cookie?: string;
  isPublic?: boolean;
  /** Waits until work that continues after the answer is over. */
  settled?: () => Promise<void>;
}

export const steps = [{ name: 'only', type: 'ssh.exec', config: { command: 'uptime' } }];

export class AuditWalk {
  readonly world: World;
  readonly services: Services;
  /** An administrator's API token. */
  readonly #token: string;
  #made = 0;

  private constructor(world: World, services: Services, token: string) {
    this.world = world;
    this.services = services;
    this.#token = token;
  }

  static async begin(): Promise<AuditWalk> {
    const world = await makeWorld();
    const services = await servicesOf(world.t, 'silent');
    const token = await enter(world, { name: 'root', grants: [{ role: 'admin', scope: null }] });
    return new AuditWalk(world, services, token);
  }

  async close(): Promise<void> {
    await this.services.stop();
    await this.world.close();
  }

  /** Returns a number that it has not returned before. */
  fresh(): number {
    this.#made += 1;
    return this.#made;
  }

  freshName(what: string): string {
    return `${what}-${this.fresh()}`;
  }

  async send(act: Act, method: string): Promise<Response> {
    const authorization: Record<string, string> = act.isPublic
      ? {}
      : act.cookie === undefined
        ? { Authorization: `Bearer ${this.#token}` }
        : { Cookie: act.cookie, 'Sec-Fetch-Site': 'same-origin' };
    return this.services.app.request(`/api/v1/${act.path}`, {
      method,
      headers: { ...authorization, 'Content-Type': 'application/json' },
      ...(act.json === undefined ? {} : { body: JSON.stringify(act.json) }),
    });
  }

  async make<T>(path: string, json: unknown): Promise<T> {
    const reply = await this.send({ path, json, isPublic: path === 'agent/enroll' }, 'POST');
    const text = await reply.text();
    if (reply.status >= 300) throw new Error(`POST ${path}: ${reply.status} ${text}`);
    return JSON.parse(text) as T;
  }

  // ---- people

  newUser(kind = 'person'): Promise<{ id: number; name: string }> {
    return this.make('users', { name: this.freshName('user'), kind });
  }

  newGroup(): Promise<UserGroup> {
    return this.make('user-groups', { name: this.freshName('group') });
  }

  /** Returns a new user with a sign-in code. */
  async codeOfNewUser() {
    const user = await this.newUser();
    await this.make('grants', { userId: user.id, role: 'viewer', scope: null });
    return { ...user, ...(await this.#signInCode(user.name)) };
  }

  /** Returns the cookie of a new session. */
  async signIn(name: string): Promise<string> {
    const { code } = await this.#signInCode(name);
    const reply = await this.send({ path: 'sign-in/exchange', json: { code }, isPublic: true }, 'POST');
    return reply.headers.get('set-cookie')?.split(';', 1)[0] ?? '';
  }

  #signInCode(name: string) {
    return createSignInCode({ sql: this.world.t.sql, now: () => new Date() }, name);
  }

  /** Returns a new user who is signed in. */
  async session(): Promise<{ id: number; name: string; cookie: string }> {
    const { id, name } = await this.codeOfNewUser();
    return { id, name, cookie: await this.signIn(name) };
  }

  async newest(table: string): Promise<number> {
    const [row] = await this.world.t.sql.unsafe<{ id: number }[]>(`select max(id) as id from ${table}`);
    return row?.id ?? 0;
  }

  // ---- jobs and runs

  newJob(): Promise<{ id: number; name: string }> {
    return this.make('jobs', { name: this.freshName('job'), steps });
  }

  newCategory(): Promise<{ id: number }> {
    return this.make('categories', { name: this.freshName('category') });
  }

  /** Returns the path of a tag or channel of a new job. */
  async newVersionName(kind: 'tags' | 'channels'): Promise<string> {
    const path = `jobs/${(await this.newJob()).id}/${kind}/named`;
    await this.send({ path, json: { version: 1 } }, 'PUT');
    return path;
  }

  async newRun(): Promise<number> {
    const { alfa } = this.world;
    const request = { targetIds: [alfa.targetId] };
    return (await this.make<{ id: number }>(`jobs/${alfa.jobId}/run`, request)).id;
  }

  /** Waits until an import of jobs has this status. */
  async importIs(id: string, status: string): Promise<void> {
    await vi.waitFor(
      async () => {
        const reply = await this.services.app.request(`/api/v1/job-imports/${id}`, {
          headers: { Authorization: `Bearer ${this.#token}` },
        });
        expect(await reply.json()).toMatchObject({ status });
      },
      { timeout: 10_000 },
    );
  }

  /** Returns a file that was uploaded but not finished. */
  async newFile(): Promise<string> {
    const { id } = await this.make<{ id: string }>('files', { name: this.freshName('file'), size: 1 });
    const reply = await this.services.app.request(`/api/v1/files/${id}/content?offset=0`, {
      method: 'PUT',
      headers: { Authorization: `Bearer ${this.#token}`, 'Content-Type': 'application/octet-stream' },
      body: 'x',
    });
    expect(reply.status).toBe(200);
    return id;
  }

  // ---- segments and targets

  async newAgent(then?: 'drain' | 'disable'): Promise<number> {
    const enrollment = await makeToken(this.world.t, this.world.alfa.segmentId);
    const request = await enrollRequest(enrollment, this.freshName('agent'), await makeAgentKeys());
    const { agentId } = await this.make<{ agentId: number }>('agent/enroll', request);
    if (then !== undefined) await this.make(`agents/${agentId}/${then}`, {});
    return agentId;
  }

  targetRequest() {
    return { segmentId: this.world.alfa.segmentId, name: this.freshName('target'), host: 'h.example' };
  }

  newTarget(): Promise<Target> {
    return this.make('targets', this.targetRequest());
  }

  newTargetGroup(): Promise<{ id: number }> {
    return this.make('target-groups', { name: this.freshName('group') });
  }

  trustPath(): string {
    return `segments/${this.world.alfa.segmentId}/host-trust`;
  }

  trustRequest() {
    const blob = Buffer.from(`\0\0\0\x0bssh-ed25519\0\0\0 ${String(this.fresh()).padEnd(32, '.')}`, 'latin1');
    return { kind: 'revoked', publicKey: `ssh-ed25519 ${blob.toString('base64')}` };
  }

  inventoryRequest() {
    return { name: this.freshName('inventory'), format: 'api', segmentId: this.world.alfa.segmentId };
  }

  async newInventory(): Promise<number> {
    return (await this.make<{ id: number }>('inventories', this.inventoryRequest())).id;
  }
}
