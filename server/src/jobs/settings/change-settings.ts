// Changes what belongs to a job and not to a version: category, labels, template.
import type { Labels } from '@opsconductor/protocol';
import { recordAudit } from '../../audit/record-audit.ts';
import { auditedBy, type Caller } from '../../caller.ts';
import type { Tx } from '../../store/database/connection.ts';
import { type JobDetailRow, setJobSettings } from '../../store/jobs/jobs.ts';
import type { JobSettings } from '../definition/split-definition.ts';
import { categoryForJobs } from './category-for-jobs.ts';

/**
 * Changes what differs, each change with its audit row. The job must be locked, and the caller allowed to edit it.
 * Returns in words what changed.
 * @throws {AppError} `invalid` for a category that does not exist; `forbidden` without `jobs.edit` on it.
 */
export async function changeSettings(
  tx: Tx,
  job: JobDetailRow,
  { category, labels, isTemplate }: Partial<JobSettings>,
  caller: Caller,
): Promise<string[]> {
  const changed: string[] = [];
  const object = { kind: 'job', id: job.id };
  if (category !== undefined && category !== job.category) {
    const to = await categoryForJobs(tx, category, caller);
    await setJobSettings(tx, job.id, { categoryId: to.id }, caller.userId);
    const detail = { name: job.name, from: job.category, to: to.name };
    const moved = { ...auditedBy(caller), action: 'job.moved', object, detail };
    // Readers of both categories should see the move.
    await recordAudit(tx, { ...moved, scope: { categoryId: job.categoryId } });
    await recordAudit(tx, { ...moved, scope: { categoryId: to.id } });
    changed.push(`moved to ${to.name}`);
  }
  const scope = { categoryId: job.categoryId };
  if (labels !== undefined && !isSameLabels(labels, job.labels)) {
    await setJobSettings(tx, job.id, { labels }, caller.userId);
    const detail = { name: job.name, from: job.labels, to: labels };
    await recordAudit(tx, { ...auditedBy(caller), action: 'job.labelled', object, scope, detail });
    changed.push('labels changed');
  }
  if (isTemplate !== undefined && isTemplate !== job.isTemplate) {
    await setJobSettings(tx, job.id, { isTemplate }, caller.userId);
    const detail = { name: job.name, isTemplate };
    await recordAudit(tx, { ...auditedBy(caller), action: 'job.template_changed', object, scope, detail });
    changed.push(isTemplate ? 'made a template' : 'no longer a template');
  }
  return changed;
}

function isSameLabels(a: Labels, b: Labels): boolean {
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => Object.hasOwn(b, name) && a[name] === b[name])
  );
}
