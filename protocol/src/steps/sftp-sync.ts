import { type Static, Type } from 'typebox';
import {
  conductFields,
  createDirectoriesField,
  directionField,
  filterFields,
  pathFields,
  preserveOwnerField,
  preservePermissionsField,
  symlinksField,
  timeoutField,
  transferBecomeField,
} from './transfer-fields.ts';

/** Configuration of a step of type `sftp.sync`: makes one directory like another. */
export const SftpSyncConfigSchema = Type.Object(
  {
    ...pathFields,
    direction: directionField,
    mode: Type.Optional(
      Type.Enum(['update', 'mirror'], {
        default: 'update',
        title: 'Mode',
        description:
          'update: newer files at the destination are kept. mirror: the destination becomes like the source.',
      }),
    ),
    delete: Type.Optional(
      Type.Boolean({
        default: false,
        title: 'Delete',
        description:
          'For mode mirror: whether files that the source does not have are deleted at the destination',
      }),
    ),
    max_delete: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 100_000,
        default: 100,
        title: 'Most to delete',
        description: 'If more files and directories than this would be deleted, nothing is done at all',
      }),
    ),
    dry_run: Type.Optional(
      Type.Boolean({
        default: false,
        title: 'Dry run',
        description: 'Whether to only list what would be done',
      }),
    ),
    compare: Type.Optional(
      Type.Enum(['time', 'checksum'], {
        default: 'time',
        title: 'Compare',
        description:
          'How different files are recognized: by size and modification time, or by the SHA-256 of both sides',
      }),
    ),
    become: transferBecomeField,
    timeout: timeoutField,
    create_directories: createDirectoriesField,
    preserve_permissions: preservePermissionsField(true),
    preserve_owner: preserveOwnerField,
    ...filterFields,
    symlinks: symlinksField,
    ...conductFields,
  },
  { additionalProperties: false },
);
export type SftpSyncConfig = Static<typeof SftpSyncConfigSchema>;
