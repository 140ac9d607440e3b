// Signs and parses grants for runs. The exact text sent is what is signed, so that nobody has to reproduce it.
import { Check } from 'typebox/value';
import { canonicalJson } from '../canonical-json.ts';
import { encodeBase64, encodeFields } from '../sealing/encoding.ts';
import { sign, signingPublicKeyOf, verifyBase64 } from '../sealing/keys.ts';
import { SealingError } from '../sealing/sealing-error.ts';
import { assertShape } from '../sealing/shape.ts';
import {
  type GrantDraft,
  type GrantedTarget,
  GrantedTargetSchema,
  type GrantTerms,
  GrantTermsSchema,
  type SignedGrant,
  type SignerClass,
} from './run-grant.ts';

const nonceBytes = 32;

export interface Signing {
  /** Ed25519, raw. */
  privateKey: Uint8Array;
  class: SignerClass;
  notBefore: Date;
  expiresAt: Date;
}

/**
 * Signs a draft for each of its targets, with a new nonce. Signs only fields that the schemas name.
 *
 * @throws {SealingError} `malformed` for a draft whose definition doesn't match its checksum.
 */
export async function signGrant(draft: GrantDraft, signing: Signing): Promise<SignedGrant> {
  const { installationId, job, startedBy, parameters, targets, definition } = draft;
  if ((await sha256Hex(canonicalJson(definition))) !== job.checksum) {
    throw new SealingError('malformed', 'The definition does not match its checksum');
  }
  const { privateKey, class: signerClass, notBefore, expiresAt } = signing;
  const terms: GrantTerms = {
    installationId,
    job,
    startedBy,
    parameters,
    nonce: encodeBase64(crypto.getRandomValues(new Uint8Array(nonceBytes))),
    notBefore: notBefore.toISOString(),
    expiresAt: expiresAt.toISOString(),
    signer: { key: encodeBase64(await signingPublicKeyOf(privateKey)), class: signerClass },
  };
  assertShape(GrantTermsSchema, terms, 'Grant');
  const text = canonicalJson(terms);
  const signed: SignedGrant['targets'] = [];
  // Sequential, because each takes a copy of the terms.
  for (const target of targets) {
    assertShape(GrantedTargetSchema, target, 'Target of the grant');
    if (!isOneTarget(target))
      throw new SealingError('malformed', 'A target of the grant has several numbers');
    const statement = canonicalJson(target);
    const signature = encodeBase64(await sign(privateKey, statementBytes(text, statement)));
    signed.push({ statement, signature });
  }
  return { terms: text, targets: signed };
}

/** Whether the key has signed these texts together; `false` for texts that can't be signed at all. */
export async function isSignedBy(
  publicKey: Uint8Array,
  { terms, statement, signature }: { terms: string; statement: string; signature: string },
): Promise<boolean> {
  try {
    return await verifyBase64(publicKey, statementBytes(terms, statement), signature);
  } catch (error) {
    if (error instanceof SealingError) return false;
    throw error;
  }
}

/** Parses the terms of a grant; `undefined` if they aren't valid. Doesn't check the signature. */
export function readTerms(text: string): GrantTerms | undefined {
  const value = parsed(text);
  return Check(GrantTermsSchema, value) ? value : undefined;
}

/** Parses the part of a grant for one target; `undefined` if it isn't valid. */
export function readGrantedTarget(text: string): GrantedTarget | undefined {
  const value = parsed(text);
  return Check(GrantedTargetSchema, value) && isOneTarget(value) ? value : undefined;
}

/**
 * Agents note by the target's number which step has begun last. If steps had numbers of their own, a server could run
 * them in any order.
 */
function isOneTarget({ reaches }: GrantedTarget): boolean {
  return new Set(reaches.map(({ target }) => target.id)).size === 1;
}

/** Returns the SHA-256 of a text, in hex. */
export async function sha256Hex(text: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

function statementBytes(terms: string, statement: string): Uint8Array {
  return encodeFields('run-grant', [terms, statement]);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
