// Files that users upload for steps to copy, and artifacts: what steps have fetched. The content of either never changes.
import { type Static, Type } from 'typebox';
import { limits } from '../limits.ts';
import { fileNamePattern } from '../steps/patterns.ts';
import { Closed, Id, Nullable, pageQuery, Timestamp } from './common.ts';
import { CategoryPath } from './jobs/categories.ts';
import { Description } from './text.ts';

export const FileName = (more: { title?: string; description?: string } = {}) =>
  Type.String({ minLength: 1, maxLength: 200, pattern: fileNamePattern, ...more });
const ContentId = Type.String({ format: 'uuid' });
const Size = Type.Integer({ minimum: 0, maximum: limits.maxFileBytes, description: 'Bytes' });
const Sha256 = Type.String({ pattern: '^[0-9a-f]{64}$', description: 'Of its bytes, in hex' });

export const fileStates = ['uploading', 'ready'] as const;

export const StoredFileSchema = Type.Object({
  id: ContentId,
  name: Type.String(),
  description: Type.String(),
  categoryId: Id,
  category: Type.String(),
  /** `uploading` until all of it is here and was looked at: no step gets it before. */
  state: Type.Enum(fileStates),
  size: Type.Integer(),
  receivedBytes: Type.Integer({ description: 'Where an upload is to be gone on with' }),
  sha256: Nullable(Type.String({ description: 'In hex; null while it is uploaded' })),
  /** Jobs whose current version names it, also those that the caller may not see. */
  jobCount: Type.Integer(),
  createdAt: Timestamp,
  createdBy: Type.String(),
  lastUsedAt: Nullable(Timestamp),
});
export type StoredFile = Static<typeof StoredFileSchema>;

export const FileQuerySchema = Closed({
  ...pageQuery,
  search: Type.Optional(
    Type.String({ minLength: 1, maxLength: 200, description: 'A part of the name or the description' }),
  ),
});
export type FileQuery = Static<typeof FileQuerySchema>;

export const CreateFileRequestSchema = Closed({
  name: FileName({ description: 'What steps call it; no other file has it' }),
  size: Size,
  description: Type.Optional(Description(1_000)),
  category: Type.Optional(CategoryPath()),
});
export type CreateFileRequest = Static<typeof CreateFileRequestSchema>;

export const UploadQuerySchema = Closed({
  offset: Type.Integer({
    minimum: 0,
    maximum: limits.maxFileBytes,
    description: 'Where these bytes go: `receivedBytes` of the file',
  }),
});
export const FinishFileRequestSchema = Closed({
  sha256: Type.Optional(Sha256),
});
export type FinishFileRequest = Static<typeof FinishFileRequestSchema>;

export const FileUseSchema = Type.Object({ jobId: Id, name: Type.String(), category: Type.String() });
export const FileUsesSchema = Type.Object({
  items: Type.Array(FileUseSchema, { description: 'Jobs that the caller may see, by name; 200 at most' }),
  hidden: Type.Integer({ description: 'How many others there are' }),
});
export type FileUses = Static<typeof FileUsesSchema>;

export const ArtifactSchema = Type.Object({
  id: ContentId,
  stepId: Id,
  attempt: Type.Integer(),
  /** Below what was downloaded. Hostile, as anything that a target names. */
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
    Type.Integer({ minimum: 1, maximum: 2_147_483_647, description: 'All unless told' }),
  ),
});
export type ArtifactQuery = Static<typeof ArtifactQuerySchema>;
