// Building blocks of messages.
import { type TSchema, Type } from 'typebox';
import { Id } from '../api/schema-parts.ts';
import { maxSeq } from './output/frames.ts';

/** A size or a growing number; beyond the maximum, neither JSON nor the database counts exactly. */
export const Count = (minimum = 0) => Type.Integer({ minimum, maximum: Number.MAX_SAFE_INTEGER });
/** Sequence number of a chunk of output, as in its frame. */
export const Seq = (minimum: number) => Type.Integer({ minimum, maximum: maxSeq });
/** Generation of a segment key or number of a roster; the database stores these in 32 bits. */
export const Generation = (minimum = 1) => Type.Integer({ minimum, maximum: 2_147_483_647 });
export const Epoch = Type.Integer({ minimum: 1, maximum: 2_147_483_647 });
/** Compared and stored unchanged, so nothing that a database or a log could interpret differently is allowed. */
const Opaque = (minLength: number) => Type.String({ minLength, maxLength: 64, pattern: '^[!-~]*$' });
const LeaseToken = Opaque(16);
export const RequestId = Opaque(1);
export const message = <T extends string, P extends Record<string, TSchema>>(type: T, properties: P) =>
  Type.Object({ type: Type.Literal(type), ...properties });

/** Identifies one attempt and proves the lease. */
export const attempt = { step: Id, epoch: Epoch, leaseToken: LeaseToken };
