// Signing and reading grants of runs. What is signed is the exact text that travels, so that nobody has to spell it again.
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
 * Signs a draft for each of its targets, under a new nonce. Only what the schemas name is signed.
 *
 * @throws {SealingError} `malformed` for a draft whose definition is not the one that its checksum is of.
 */
export async function signGrant(draft: GrantDraft, signing: Signing): Promise<SignedGrant> {
  const { installationId, job, startedBy, parameters, targets, definition } = draft;
  if ((await sha256Hex(canonicalJson(definition))) !== job.checksum) {
    throw new SealingError('malformed', 'The definition is not the one that its checksum is of');
  }
  const { privateKey, class: signerClass, notBefore, expiresAt } = signing;
  const terms: GrantTerms = {
    ...{ installationId, job, startedBy, parameters },
    nonce: encodeBase64(crypto.getRandomValues(new Uint8Array(nonceBytes))),
    ...{ notBefore: notBefore.toISOString(), expiresAt: expiresAt.toISOString() },
    signer: { key: encodeBase64(await signingPublicKeyOf(privateKey)), class: signerClass },
  };
  assertShape(GrantTermsSchema, terms, 'Grant');
  const text = canonicalJson(terms);
  const signed: SignedGrant['targets'] = [];
  // One after the other: each takes a copy of the terms.
  for (const target of targets) {
    assertShape(GrantedTargetSchema, target, 'Target of the grant');
    const statement = canonicalJson(target);
    const signature = encodeBase64(await sign(privateKey, statementBytes(text, statement)));
    signed.push({ statement, signature });
  }
  return { terms: text, targets: signed };
}

/** Whether the key has signed these texts together; false for texts that nothing can sign. */
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

/** Reads the terms of a grant; undefined for what is none. Whether they are signed is another question. */
export function readTerms(text: string): GrantTerms | undefined {
  const value = parsed(text);
  return Check(GrantTermsSchema, value) ? value : undefined;
}

/** Reads what a grant says of one target; undefined for what is none. */
export function readGrantedTarget(text: string): GrantedTarget | undefined {
  const value = parsed(text);
  return Check(GrantedTargetSchema, value) ? value : undefined;
}

/** SHA-256 of a text, in hex. */
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
