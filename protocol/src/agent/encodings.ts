import { Type } from 'typebox';

/** A key or a digest, base64. */
export const Bytes32 = Type.String({ minLength: 44, maxLength: 44, pattern: '^[A-Za-z0-9+/]{43}=$' });
/** An Ed25519 signature, base64. */
export const Signature = Type.String({ minLength: 88, maxLength: 88, pattern: '^[A-Za-z0-9+/]{86}==$' });
