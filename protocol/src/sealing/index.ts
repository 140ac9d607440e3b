// Keys, seals and signatures, for Node and the browser: uses only WebCrypto and @hpke/core.

export {
  type BoundAuthentication,
  type BoundsAttempt,
  boundAuthentications,
  boundNouns,
  boundProtocols,
  boundsProblems,
  type CredentialBounds,
  CredentialBoundsSchema,
  checkBounds,
} from './bounds/bounds.ts';
export { signGeneration, verifyGeneration } from './connection/generation.ts';
export {
  handshakeTranscript,
  signHandshake,
  verifyHandshake,
} from './connection/handshake.ts';
export { decodeBase64, encodeBase64, encodeFields, equalBytes, type Field } from './encoding.ts';
export {
  encryptionPublicKeyOf,
  fingerprint,
  generateEncryptionKeyPair,
  generateSigningKeyPair,
  type KeyPair,
  publicKeyBytes,
  sign,
  signingPublicKeyOf,
  verify,
  verifyBase64,
} from './keys.ts';
export { SealingError } from './sealing-error.ts';
export {
  type CredentialBinding,
  type CredentialKind,
  type CredentialSecret,
  credentialProblems,
  isCredentialKind,
  maxPolicyNameLength,
  openCredential,
  policyNamePattern,
  type SealedCredential,
  sealCredential,
} from './secrets/credential.ts';
export type { SealedEnvelope } from './secrets/envelope.ts';
export { openRunValue, type RunValueBinding, sealRunValue } from './secrets/run-value.ts';
export { agentFingerprint } from './segment/agent-fingerprint.ts';
export {
  enrollmentStatement,
  segmentKeyStatement,
} from './segment/enrollment-statement.ts';
export { keyChangeStatement } from './segment/key-change.ts';
export {
  type Roster,
  type RosterAgent,
  rosterMember,
  rosterSegmentKey,
  type SignedRoster,
  signRoster,
  verifyRoster,
} from './segment/roster.ts';
export {
  generateSegmentKey,
  type SegmentKeyBinding,
  unwrapSegmentKey,
  wrapSegmentKey,
} from './segment/segment-key.ts';
export type { Problem } from './shape.ts';
