import { type DefinitionProblem, generalCategory, type JobDefinition } from '@opsconductor/protocol';
import type { Queryable } from '../../store/database/connection.ts';
import { usableFileNames } from '../../store/files/files.ts';
import { namesFile } from '../definition/split-definition.ts';

/**
 * Returns warnings for files that steps name literally and that jobs of the category can't use: a file may be uploaded
 * after the job that names it.
 */
export async function unknownFiles(
  db: Queryable,
  category: string,
  { steps }: Pick<JobDefinition, 'steps'>,
): Promise<DefinitionProblem[]> {
  const places = steps.flatMap((step, at) => {
    const name = namesFile(step);
    return name === undefined ? [] : [{ path: `steps[${at}].config.file`, name }];
  });
  if (places.length === 0) return [];
  const usable = await usableFileNames(db, category, [...new Set(places.map(({ name }) => name))]);
  const where =
    category === generalCategory.name
      ? `“${category}”`
      : `“${category}”, the ones above it, and “${generalCategory.name}”`;
  return places
    .filter(({ name }) => !usable.has(name))
    .map(({ path, name }) => ({
      path,
      message: `There is no file “${name}” that this job may use; until it is uploaded, the step fails. Looked in ${where}.`,
      found: name,
      severity: 'warning',
    }));
}
