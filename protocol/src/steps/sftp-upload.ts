import { type Static, Type } from 'typebox';
import {
  conductFields,
  createDirectoriesField,
  fileField,
  filterFields,
  modeFields,
  overwriteField,
  pathFields,
  preserveOwnerField,
  preservePermissionsField,
  preserveTimesField,
  symlinksField,
  timeoutField,
  transferBecomeField,
} from './transfer-fields.ts';

/** Configuration of a step of type `sftp.upload`: copies a file or a directory from the agent to the target. */
export const SftpUploadConfigSchema = Type.Object(
  {
    local_path: Type.Optional(pathFields.local_path),
    file: fileField,
    remote_path: pathFields.remote_path,
    become: transferBecomeField,
    timeout: timeoutField,
    create_directories: createDirectoriesField,
    overwrite: overwriteField,
    preserve_permissions: preservePermissionsField(false),
    preserve_times: preserveTimesField,
    preserve_owner: preserveOwnerField,
    ...modeFields,
    ...filterFields,
    symlinks: symlinksField,
    ...conductFields,
  },
  { additionalProperties: false },
);
export type SftpUploadConfig = Static<typeof SftpUploadConfigSchema>;
