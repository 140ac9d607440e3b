import { type Static, Type } from 'typebox';
import {
  artifactField,
  conductFields,
  createDirectoriesField,
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

/** Configuration of a step of type `sftp.download`: copies a file or a directory from the target to the agent. */
export const SftpDownloadConfigSchema = Type.Object(
  {
    remote_path: pathFields.remote_path,
    local_path: Type.Optional(pathFields.local_path),
    artifact: artifactField,
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
export type SftpDownloadConfig = Static<typeof SftpDownloadConfigSchema>;
