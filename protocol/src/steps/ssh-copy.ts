import { type Static, Type } from 'typebox';
import {
  createDirectoriesField,
  directionField,
  modeFields,
  pathFields,
  preservePermissionsField,
  preserveTimesField,
  timeoutField,
} from './transfer-fields.ts';

/**
 * Configuration of a step of type `ssh.copy`: a file or a directory is copied, over SFTP where the target has it and by
 * the SCP protocol where it has not.
 */
export const SshCopyConfigSchema = Type.Object(
  {
    ...pathFields,
    direction: directionField,
    timeout: timeoutField,
    create_directories: createDirectoriesField,
    preserve_permissions: preservePermissionsField(false),
    preserve_times: preserveTimesField,
    ...modeFields,
  },
  { additionalProperties: false },
);
export type SshCopyConfig = Static<typeof SshCopyConfigSchema>;
