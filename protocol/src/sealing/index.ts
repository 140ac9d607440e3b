// Keys, seals and signatures, for Node and the browser: uses only WebCrypto and @hpke/core.
export { type AgentKeys, agentFingerprint } from './agent-fingerprint.ts';
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
} from './bounds.ts';
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
} from './credential.ts';
export { concatBytes, decodeBase64, encodeBase64, encodeFields, equalBytes, type Field } from './encoding.ts';
export {
  type Enrollment,
  enrollmentStatement,
  type SegmentKeyOffer,
  segmentKeyStatement,
} from './enrollment-statement.ts';
export {
  type EnvelopeContext,
  openEnvelope,
  type SealedEnvelope,
  sealEnvelope,
} from './envelope.ts';
export { type ConnectGeneration, signGeneration, verifyGeneration } from './generation.ts';
export {
  type Handshake,
  type HandshakeRole,
  handshakeNonceBytes,
  handshakeTranscript,
  signHandshake,
  verifyHandshake,
} from './handshake.ts';
export { type KeyChange, keyChangeStatement } from './key-change.ts';
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
} from './roster.ts';
export { openRunValue, type RunValueBinding, sealRunValue } from './run-value.ts';
export { SealingError, type SealingReason } from './sealing-error.ts';
export {
  generateSegmentKey,
  type SegmentKeyBinding,
  unwrapSegmentKey,
  wrapSegmentKey,
} from './segment-key.ts';
export type { Problem } from './shape.ts';
