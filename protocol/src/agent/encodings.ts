import { Type } from 'typebox';

/** Base64 of a key or a digest. */
export const Bytes32 = Type.String({ minLength: 44, maxLength: 44, pattern: '^[A-Za-z0-9+/]{43}=$' });
/** Base64, by an Ed25519 key. */
export const Signature = Type.String({ minLength: 88, maxLength: 88, pattern: '^[A-Za-z0-9+/]{86}==$' });
