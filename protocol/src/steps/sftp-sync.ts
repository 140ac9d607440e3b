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

/** Configuration of a step of type `sftp.sync`: two directories are made alike. */
export const SftpSyncConfigSchema = Type.Object(
  {
    ...pathFields,
    direction: directionField,
    mode: Type.Optional(
      Type.Enum(['update', 'mirror'], {
        default: 'update',
        title: 'Mode',
        description:
          'update: files that are newer at the destination stay. mirror: the destination becomes as the source is.',
      }),
    ),
    delete: Type.Optional(
      Type.Boolean({
        default: false,
        title: 'Delete',
        description: 'In a mirror: whether what the source does not have is deleted at the destination',
      }),
    ),
    max_delete: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 100_000,
        default: 100,
        title: 'Most to delete',
        description: 'If more than so many files and directories were to be deleted, nothing is done at all',
      }),
    ),
    dry_run: Type.Optional(
      Type.Boolean({
        default: false,
        title: 'Dry run',
        description: 'Whether it only lists what it would do',
      }),
    ),
    compare: Type.Optional(
      Type.Enum(['time', 'checksum'], {
        default: 'time',
        title: 'Compare',
        description:
          'What tells that a file is different: size and modification time, or the SHA-256 of both sides',
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
