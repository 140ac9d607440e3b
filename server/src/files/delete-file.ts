import { recordAudit } from '../audit/record-audit.ts';
import { auditedBy, type Caller } from '../caller.ts';
import { AppError, notFound } from '../errors.ts';
import type { Sql } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { deleteFile as deleteFileRow, findFile, lockFile } from '../store/files/files.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { editableFile } from './upload-file.ts';

/** @throws {AppError} `not_found`; `forbidden`; `conflict` while a job uses it. */
export async function deleteFile(sql: Sql, id: string, caller: Caller): Promise<void> {
  await editableFile(sql, id, caller);
  await inTransaction(sql, async (tx) => {
    await lockFile(tx, id);
    const file = await findFile(tx, id, unrestricted);
    if (file === undefined) throw notFound('File');
    const { name, jobCount, size, sha256, categoryId } = file;
    if (jobCount > 0) {
      const jobs = jobCount === 1 ? '1 job names' : `${jobCount} jobs name`;
      throw new AppError(
        'conflict',
        `${jobs} ${name} in a step. Give them another file first, or delete them.`,
      );
    }
    await deleteFileRow(tx, id);
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'file.deleted',
      object: { kind: 'file', id },
      scope: { categoryId },
      detail: { name, size, sha256 },
    });
  });
}
