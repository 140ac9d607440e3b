// Files that users upload for steps to copy, and artifacts, which steps have fetched. Neither ever changes its content.
import { type Static, Type } from 'typebox';
import { limits } from '../limits.ts';
import { fileNamePattern } from '../steps/patterns.ts';
import { CategoryPath } from './jobs/categories.ts';
import { Closed, Id, Nullable, pageQuery, Timestamp } from './schema-parts.ts';
import { Description } from './text.ts';

export const FileName = (more: { title?: string; description?: string } = {}) =>
  Type.String({ minLength: 1, maxLength: 200, pattern: fileNamePattern, ...more });
const ContentId = Type.String({ format: 'uuid' });
const Size = Type.Integer({ minimum: 0, maximum: limits.maxFileBytes, description: 'Bytes' });
const Sha256 = Type.String({ pattern: '^[0-9a-f]{64}$', description: 'SHA-256 of the content, in hex' });

export const fileStates = ['uploading', 'ready'] as const;

export const StoredFileSchema = Type.Object({
  id: ContentId,
  name: Type.String(),
  description: Type.String(),
  categoryId: Id,
  category: Type.String(),
  /** `uploading` until the content is complete and verified; steps can't use it before. */
  state: Type.Enum(fileStates),
  size: Type.Integer(),
  receivedBytes: Type.Integer({ description: 'Offset at which an upload continues' }),
  sha256: Nullable(Type.String({ description: 'In hex; null during the upload' })),
  /** Jobs whose current version names the file, including those that the caller may not see. */
  jobCount: Type.Integer(),
  createdAt: Timestamp,
  createdBy: Type.String(),
  lastUsedAt: Nullable(Timestamp),
  /** When an unfinished upload is removed, unless it is continued before; null once it is complete. */
  uploadExpiresAt: Nullable(Timestamp),
});
export type StoredFile = Static<typeof StoredFileSchema>;

export const FileQuerySchema = Closed({
  ...pageQuery,
  search: Type.Optional(
    Type.String({ minLength: 1, maxLength: 200, description: 'A part of the name or the description' }),
  ),
  state: Type.Optional(
    Type.Enum(fileStates, { description: '`uploading`: only unfinished uploads; `ready`: only other files' }),
  ),
  mine: Type.Optional(
    Type.Boolean({ description: '`true`: only what the caller uploads; `false`: only what others do' }),
  ),
});
export type FileQuery = Static<typeof FileQuerySchema>;

export const CreateFileRequestSchema = Closed({
  name: FileName({ description: 'The name that steps use; unique' }),
  size: Size,
  description: Type.Optional(Description(1_000)),
  category: Type.Optional(CategoryPath()),
});
export type CreateFileRequest = Static<typeof CreateFileRequestSchema>;

export const UploadQuerySchema = Closed({
  offset: Type.Integer({
    minimum: 0,
    maximum: limits.maxFileBytes,
    description: 'Offset of these bytes: the file’s `receivedBytes`',
  }),
});
export const ReceivedContentSchema = Type.Object({
  receivedBytes: Type.Integer({
    description: 'How many bytes the digest covers; the upload may go on meanwhile',
  }),
  sha256: Type.String({ description: 'SHA-256 of these bytes, in hex' }),
});
export type ReceivedContent = Static<typeof ReceivedContentSchema>;

export const FinishFileRequestSchema = Closed({
  sha256: Type.Optional(Sha256),
});
export type FinishFileRequest = Static<typeof FinishFileRequestSchema>;

export const FileUseSchema = Type.Object({ jobId: Id, name: Type.String(), category: Type.String() });
export const FileUsesSchema = Type.Object({
  items: Type.Array(FileUseSchema, { description: 'Jobs that the caller may see, by name; at most 200' }),
  hidden: Type.Integer({ description: 'How many jobs the caller may not see, or are beyond the limit' }),
});
export type FileUses = Static<typeof FileUsesSchema>;

export const ArtifactSchema = Type.Object({
  id: ContentId,
  stepId: Id,
  attempt: Type.Integer(),
  /** Relative to what was downloaded. Untrusted, like every name that comes from a target. */
  name: Type.String(),
  size: Type.Integer(),
  sha256: Type.String({ description: 'In hex' }),
  createdAt: Timestamp,
});
export type Artifact = Static<typeof ArtifactSchema>;

export const ArtifactQuerySchema = Closed({
  ...pageQuery,
  stepId: Type.Optional(Id),
  attempt: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 2_147_483_647, description: 'Default: all attempts' }),
  ),
});
export type ArtifactQuery = Static<typeof ArtifactQuerySchema>;
