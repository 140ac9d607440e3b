// Files of the server on their way to an agent, and artifacts on their way from one: piece by piece over the connection
// that the agent has anyway. What an agent may ask for goes by the attempt that it has.
import { type Static, Type } from 'typebox';
import { limits } from '../limits.ts';

const Count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const ContentId = Type.String({ minLength: 36, maxLength: 36, pattern: '^[0-9a-f-]{36}$' });
/** In hex. */
const Sha256 = Type.String({ minLength: 64, maxLength: 64, pattern: '^[0-9a-f]{64}$' });
/** From 0. */
const PartNumber = Type.Integer({
  minimum: 0,
  maximum: Math.ceil(limits.maxFileBytes / limits.contentPartBytes),
});
/** One piece, base64. */
const PartData = Type.String({ maxLength: Math.ceil(limits.contentPartBytes / 3) * 4 });
const Do = <T extends string>(name: T) => Type.Literal(name);

export const ContentRequestSchema = Type.Union([
  Type.Object({ do: Do('find_file'), name: Type.String({ minLength: 1, maxLength: 200 }) }),
  Type.Object({ do: Do('read_file'), file: ContentId, part: PartNumber }),
  Type.Object({
    do: Do('open_artifact'),
    /** Below what was downloaded; what the name is not in UTF-8 is shown in its place. */
    name: Type.String({ minLength: 1, maxLength: limits.maxArtifactNameLength }),
    size: Count,
  }),
  Type.Object({ do: Do('write_artifact'), artifact: ContentId, part: PartNumber, data: PartData }),
  /** From here on it is listed, if it is whole and the same. */
  Type.Object({ do: Do('close_artifact'), artifact: ContentId, sha256: Sha256 }),
]);
export type ContentRequest = Static<typeof ContentRequestSchema>;

/** Why the server does not do it; a reason of a step. */
export const contentProblems = [
  'path_missing',
  'path_refused',
  'no_space',
  'checksum_mismatch',
  'transfer_failed',
] as const;
export type ContentProblem = (typeof contentProblems)[number];

/** What was asked for, by what was to be done; or a problem. */
export const ContentAnswerSchema = Type.Object({
  problem: Type.Optional(
    Type.Object({
      reason: Type.Enum(contentProblems),
      message: Type.String({ maxLength: 1_000 }),
      advice: Type.String({ maxLength: 1_000 }),
    }),
  ),
  file: Type.Optional(Type.Object({ id: ContentId, sha256: Sha256, size: Count })),
  data: Type.Optional(PartData),
  /** `parts`: so many are stored already. */
  artifact: Type.Optional(Type.Object({ id: ContentId, parts: Count })),
});
export type ContentAnswer = Static<typeof ContentAnswerSchema>;
