// Files sent from the server to an agent, and artifacts sent back, piece by piece over the agent's existing connection.
// What an agent may ask for depends on the attempt that it has.
import { type Static, Type } from 'typebox';
import { limits } from '../limits.ts';

const Count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const ContentId = Type.String({ minLength: 36, maxLength: 36, pattern: '^[0-9a-f-]{36}$' });
/** In hex. */
const Sha256 = Type.String({ minLength: 64, maxLength: 64, pattern: '^[0-9a-f]{64}$' });
/** Counted from 0. */
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
    /** Path relative to what was downloaded; parts that aren't valid UTF-8 are replaced by a visible form. */
    name: Type.String({ minLength: 1, maxLength: limits.maxArtifactNameLength }),
    size: Count,
  }),
  Type.Object({ do: Do('write_artifact'), artifact: ContentId, part: PartNumber, data: PartData }),
  /** From then on it is listed, provided that it is complete and its checksum matches. */
  Type.Object({ do: Do('close_artifact'), artifact: ContentId, sha256: Sha256 }),
]);
export type ContentRequest = Static<typeof ContentRequestSchema>;

/** Why the server refuses; also a reason of a step. */
export const contentProblems = [
  'path_missing',
  'path_refused',
  'no_space',
  'checksum_mismatch',
  'transfer_failed',
] as const;
export type ContentProblem = (typeof contentProblems)[number];

/** The answer, whose fields depend on the request; or a problem. */
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
  /** `parts`: the number that is already stored. */
  artifact: Type.Optional(Type.Object({ id: ContentId, parts: Count })),
});
export type ContentAnswer = Static<typeof ContentAnswerSchema>;
