// Makes this machine an agent: checks the server, makes keys, exchanges the token for an identity. If it is interrupted
// at any point, it can be run again with the same token.
import { createHash } from 'node:crypto';
import {
  type EnrollmentToken,
  type EnrollRequest,
  type EnrollResponse,
  EnrollResponseSchema,
  parseEnrollmentToken,
  SegmentKeyResponseSchema,
} from '@opsconductor/protocol';
import {
  decodeBase64,
  encodeBase64,
  encryptionPublicKeyOf,
  enrollmentStatement,
  generateEncryptionKeyPair,
  generateSigningKeyPair,
  type KeyPair,
  segmentKeyStatement,
  sign,
  signingPublicKeyOf,
  verifyGeneration,
  wrapSegmentKey,
} from '@opsconductor/protocol/sealing';
import type { Static, TSchema } from 'typebox';
import { Check } from 'typebox/value';
import { AgentError } from '../agent-error.ts';
import type { ProxySettings } from '../connection/proxy.ts';
import { explainReachError } from '../explain-error.ts';
import { saveGeneration } from '../identity/connect-generation.ts';
import {
  type DataDirectory,
  dataDirectory,
  prepareDataDirectory,
  removeIdentity,
} from '../identity/data-directory.ts';
import { lockDirectory } from '../identity/directory-lock.ts';
import { readIfExists, writeDurably } from '../identity/durable-file.ts';
import {
  type IdentityFile,
  keyPairAt,
  parseJson,
  readPublicIdentity,
  saveIdentity,
} from '../identity/identity.ts';
import { firstSegmentKey } from '../identity/segment-keys.ts';
import type { Logger } from '../log.ts';
import { agentVersion } from '../version.ts';
import { requestJson, type ServerAccess } from './request-json.ts';
import { establishTrust, parseServerUrl } from './server-trust.ts';

export interface EnrollOptions {
  server: string;
  /** As it was handed over; never logged. */
  token: string;
  name: string;
  dataDir: string;
  caPin?: string | undefined;
  caFile?: string | undefined;
  /** Whether to give up an existing identity. */
  force: boolean;
  proxy: ProxySettings;
  log: Logger;
}

/** @throws {AgentError} for everything that a person can fix. */
export async function enroll(options: EnrollOptions): Promise<IdentityFile> {
  const token = parseEnrollmentToken(options.token);
  if (token === undefined) {
    throw new AgentError(
      'This is not an enrollment token.',
      'Copy the whole token again: it begins with oce_ and is one line.',
    );
  }
  const server = parseServerUrl(options.server);
  const data = dataDirectory(options.dataDir);
  await prepareDataDirectory(data);
  const lock = await lockDirectory(data.lock);
  try {
    await makeRoom(data, options.force);
    const ca = await establishTrust({
      server,
      caPin: options.caPin,
      tokenPin: token.caPin,
      caFile: options.caFile,
      proxy: options.proxy,
    });
    const access: ServerAccess = { server: server.origin, ca, proxy: options.proxy };
    return await new Enrollment(options, data, access, token).run();
  } finally {
    await lock.release();
  }
}

async function makeRoom(data: DataDirectory, force: boolean): Promise<void> {
  const identity = await readPublicIdentity(data).catch((error: unknown) => {
    if (!force) throw error;
    return undefined;
  });
  if (force) return removeIdentity(data).then(() => prepareDataDirectory(data));
  if (identity === undefined) return;
  throw new AgentError(
    `This machine is already enrolled at ${identity.server} as agent ${identity.agentName} of segment ${identity.segmentName}.`,
    'To give that identity up for a new one, add --force; for a second agent, name another directory with --data.',
  );
}

class Enrollment {
  readonly #options: EnrollOptions;
  readonly #data: DataDirectory;
  readonly #access: ServerAccess;
  readonly #token: EnrollmentToken;

  constructor(options: EnrollOptions, data: DataDirectory, access: ServerAccess, token: EnrollmentToken) {
    this.#options = options;
    this.#data = data;
    this.#access = access;
    this.#token = token;
  }

  async run(): Promise<IdentityFile> {
    const data = this.#data;
    await this.#keepKeysOfThisTokenOnly();
    if (this.#access.ca !== undefined) await writeDurably(data.ca, this.#access.ca);
    const signing = await keyPairAt(data.signingKey, signingPublicKeyOf, generateSigningKeyPair);
    const encryption = await keyPairAt(data.encryptionKey, encryptionPublicKeyOf, generateEncryptionKeyPair);
    const reply = await this.#enroll(signing, encryption);
    await this.#verify(reply);
    if (reply.makesSegmentKey) await this.#offerSegmentKey(reply, signing, encryption);
    await saveGeneration(data.generation, {
      generation: reply.generation,
      signature: reply.generationSignature,
    });
    const { agentId, agentName, segmentId, segmentName, installationId, serverKey, segmentRoot } = reply;
    const identity: IdentityFile = {
      server: this.#access.server,
      agentId,
      agentName,
      segmentId,
      segmentName,
      installationId,
      serverKey,
      segmentRoot,
      enrolledAt: new Date().toISOString(),
    };
    await saveIdentity(data, identity);
    return identity;
  }

  /** Keys belong to one token: those of an abandoned enrollment with another token are not used again. */
  async #keepKeysOfThisTokenOnly(): Promise<void> {
    const tokenSha256 = createHash('sha256').update(this.#token.secret).digest('hex');
    const stored = await readIfExists(this.#data.pendingEnrollment);
    const { tokenSha256: before } = Object(stored && parseJson(stored.toString('utf8'))) as {
      tokenSha256?: unknown;
    };
    if (before === tokenSha256) return;
    await removeIdentity(this.#data);
    await prepareDataDirectory(this.#data);
    await writeDurably(this.#data.pendingEnrollment, `${JSON.stringify({ tokenSha256 })}\n`);
  }

  async #enroll(signing: KeyPair, encryption: KeyPair): Promise<EnrollResponse> {
    const { name } = this.#options;
    const token = this.#options.token.trim();
    const statement = enrollmentStatement({
      token,
      name,
      signingKey: signing.publicKey,
      encryptionKey: encryption.publicKey,
    });
    const request: EnrollRequest = {
      token,
      name,
      signingKey: encodeBase64(signing.publicKey),
      encryptionKey: encodeBase64(encryption.publicKey),
      signature: encodeBase64(await sign(signing.privateKey, statement)),
      agentVersion,
      platform: `${process.platform}-${process.arch}`,
    };
    return await this.#ask('/api/v1/agent/enroll', request, EnrollResponseSchema);
  }

  async #verify(reply: EnrollResponse): Promise<void> {
    const root = decodeBase64(reply.segmentRoot, 32, 'segmentRoot');
    const found = createHash('sha256').update(root).digest('hex');
    if (found !== this.#token.rootSha256) {
      throw new AgentError(
        `The server names another segment root (${found}) than the token (${this.#token.rootSha256}).`,
        'Stop: the token belongs to another installation, or the server is not what it claims to be. Make a new token in the console, and ask whoever runs the server.',
      );
    }
    const { installationId, agentId, generation, generationSignature } = reply;
    const serverKey = decodeBase64(reply.serverKey, 32, 'serverKey');
    if (!(await verifyGeneration(serverKey, { installationId, agentId, generation }, generationSignature))) {
      throw new AgentError(
        "The server's reply is not signed by the key that it names.",
        'Update the server or the agent, whichever is older. If it happens again, report it.',
      );
    }
  }

  async #offerSegmentKey(reply: EnrollResponse, signing: KeyPair, encryption: KeyPair): Promise<void> {
    const { agentId, installationId, segmentId } = reply;
    const generation = 1;
    const key = await firstSegmentKey(this.#data);
    const wrapped = await wrapSegmentKey({
      segmentPrivateKey: key.privateKey,
      recipientPublicKey: encryption.publicKey,
      binding: {
        installationId,
        segmentId,
        generation,
        recipient: agentId,
        segmentPublicKey: key.publicKey,
      },
    });
    const statement = segmentKeyStatement({
      installationId,
      segmentId,
      agentId,
      generation,
      segmentPublicKey: key.publicKey,
      wrapped,
    });
    const { accepted } = await this.#ask(
      '/api/v1/agent/segment-key',
      {
        agentId,
        segmentPublicKey: encodeBase64(key.publicKey),
        wrapped,
        signature: encodeBase64(await sign(signing.privateKey, statement)),
      },
      SegmentKeyResponseSchema,
    );
    if (!accepted)
      this.#options.log.info(
        'another agent made the segment key first; this agent gets it from a connected agent of the segment',
      );
  }

  async #ask<T extends TSchema>(path: string, body: unknown, schema: T): Promise<Static<T>> {
    const { server } = this.#access;
    const reply = await requestJson(this.#access, path, body).catch((error: unknown) => {
      throw explainReachError(error, server, this.#access.proxy);
    });
    if (reply.status === 200 && Check(schema, reply.body)) return reply.body;
    const refusal = readRefusal(reply.body);
    if (refusal === undefined) {
      throw new AgentError(
        `${server} answered in a way that this agent does not understand (HTTP ${reply.status}).`,
        fixes[reply.status] ?? otherServer,
      );
    }
    const isNameTaken = reply.status === 409 && refusal.path === 'name';
    throw new AgentError(
      `The server refused: ${refusal.message}${refusal.allowed === undefined || refusal.message.includes(refusal.allowed) ? '' : ` Allowed: ${refusal.allowed}.`}`,
      isNameTaken ? otherName : (fixes[reply.status] ?? otherServer),
    );
  }
}

interface Refusal {
  message: string;
  /** Path of the first invalid field. */
  path: string | undefined;
  allowed: string | undefined;
}

function readRefusal(body: unknown): Refusal | undefined {
  const { error } = Object(body) as { error?: { message?: unknown; details?: unknown } };
  if (typeof error?.message !== 'string') return undefined;
  const [first] = Array.isArray(error.details) ? (error.details as unknown[]) : [];
  const { path, allowed } = Object(first) as { path?: unknown; allowed?: unknown };
  const text = (value: unknown) => (typeof value === 'string' ? value : undefined);
  return { message: error.message, path: text(path), allowed: text(allowed) };
}

const otherServer =
  'Check that the address is that of an OpsConductor server, and that its version fits this agent.';
const otherName = 'Run the command again with the same token and another --name.';

const fixes: Record<number, string> = {
  400: 'Correct what the server names, and run the command again with the same token.',
  401: 'Make a new token on the agents page of the console; a token is good for one hour and one agent.',
  409: 'Make a new token on the agents page of the console: each is good for one agent.',
  429: 'Wait a minute and run the command again with the same token.',
  500: "Look at the server's log, and run the command again with the same token.",
  503: 'The server is starting or overloaded: run the command again with the same token.',
};
