import { type Static, Type } from 'typebox';
import { artifactField, pathFields, sftpTransferFields, sourceFields } from './transfer-fields.ts';

/** Configuration of a step of type `sftp.download`: copies a file or a directory from the target to the agent. */
export const SftpDownloadConfigSchema = Type.Object(
  {
    remote_path: sourceFields.remote_path,
    local_path: Type.Optional(pathFields.local_path),
    artifact: artifactField,
    ...sftpTransferFields,
  },
  { additionalProperties: false },
);
export type SftpDownloadConfig = Static<typeof SftpDownloadConfigSchema>;
