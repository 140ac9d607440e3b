// Keys, seals and signatures, for Node and the browser: uses only WebCrypto and @hpke/core.

export {
  type BoundAuthentication,
  type BoundProtocol,
  type BoundsAttempt,
  type BoundsVerdict,
  boundAuthentications,
  boundNouns,
  boundProtocols,
  boundsProblems,
  type CredentialBounds,
  CredentialBoundsSchema,
  checkBounds,
} from './bounds/bounds.ts';
export { type ConnectGeneration, signGeneration, verifyGeneration } from './connection/generation.ts';
export {
  type Handshake,
  type HandshakeRole,
  handshakeNonceBytes,
  handshakeTranscript,
  signHandshake,
  verifyHandshake,
} from './connection/handshake.ts';
export { concatBytes, decodeBase64, encodeBase64, encodeFields, equalBytes, type Field } from './encoding.ts';
export {
  encryptionPublicKeyOf,
  fingerprint,
  generateEncryptionKeyPair,
  generateSigningKeyPair,
  type KeyPair,
  privateKeyBytes,
  publicKeyBytes,
  sign,
  signatureBytes,
  signingPublicKeyOf,
  verify,
  verifyBase64,
} from './keys.ts';
export { SealingError, type SealingReason } from './sealing-error.ts';
export {
  type CredentialBinding,
  type CredentialKind,
  type CredentialSecret,
  CredentialSecretSchema,
  credentialProblems,
  isCredentialKind,
  maxPolicyNameLength,
  openCredential,
  policyNamePattern,
  type SealedCredential,
  sealCredential,
} from './secrets/credential.ts';
export {
  type EnvelopeContext,
  openEnvelope,
  type SealedEnvelope,
  sealEnvelope,
} from './secrets/envelope.ts';
export { openRunValue, type RunValueBinding, sealRunValue } from './secrets/run-value.ts';
export { type AgentKeys, agentFingerprint } from './segment/agent-fingerprint.ts';
export {
  type Enrollment,
  enrollmentStatement,
  type SegmentKeyOffer,
  segmentKeyStatement,
} from './segment/enrollment-statement.ts';
export { type KeyChange, keyChangeStatement } from './segment/key-change.ts';
export {
  type Roster,
  type RosterAgent,
  type RosterExpectation,
  RosterSchema,
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
