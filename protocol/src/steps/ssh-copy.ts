import { type Static, Type } from 'typebox';
import {
  createDirectoriesField,
  directionField,
  fileField,
  modeFields,
  pathFields,
  preservePermissionsField,
  preserveTimesField,
  timeoutField,
  transferBecomeField,
} from './transfer-fields.ts';

/**
 * Configuration of a step of type `ssh.copy`: a file or a directory is copied, over SFTP where the target has it and by
 * the SCP protocol where it has not.
 */
export const SshCopyConfigSchema = Type.Object(
  {
    local_path: Type.Optional(pathFields.local_path),
    file: fileField,
    remote_path: pathFields.remote_path,
    direction: directionField,
    become: transferBecomeField,
    timeout: timeoutField,
    create_directories: createDirectoriesField,
    preserve_permissions: preservePermissionsField(false),
    preserve_times: preserveTimesField,
    ...modeFields,
  },
  { additionalProperties: false },
);
export type SshCopyConfig = Static<typeof SshCopyConfigSchema>;
