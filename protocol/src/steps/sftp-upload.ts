import { type Static, Type } from 'typebox';
import { fileField, pathFields, sftpTransferFields, sourceFields } from './transfer-fields.ts';

/** Configuration of a step of type `sftp.upload`: copies a file or a directory from the agent to the target. */
export const SftpUploadConfigSchema = Type.Object(
  {
    local_path: Type.Optional(sourceFields.local_path),
    file: fileField,
    remote_path: pathFields.remote_path,
    ...sftpTransferFields,
  },
  { additionalProperties: false },
);
export type SftpUploadConfig = Static<typeof SftpUploadConfigSchema>;
