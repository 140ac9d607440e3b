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
 * Configuration of a step of type `ssh.copy`: copies a file or a directory, over SFTP if the target supports it,
 * otherwise with the SCP protocol.
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
