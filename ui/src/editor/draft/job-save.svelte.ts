// Saves a definition as a new job or as the next version, and detects a conflicting save.
import { generalCategory, type Job, type JobDefinition, type SaveJobReply } from '@opsconductor/protocol';
import { ApiError } from '../../api/client.ts';
import { createJob, saveJob } from '../../api/jobs/jobs.ts';
import { Action } from '../../state/action.svelte.ts';
import type { DefinitionDraft } from './definition-draft.svelte.ts';

/** Someone else saved a version since editing began. */
export interface Conflict {
  theirs: { version: number; createdBy: string; createdAt: string; note: string; definition: JobDefinition };
}

export class JobSave {
  readonly action = new Action();
  conflict: Conflict | undefined = $state.raw();

  /** Returns the saved job, if it was saved; passes the problems that the server found to the draft. */
  async save(
    draft: DefinitionDraft,
    job: Job | undefined,
    expectedVersion: number,
    note: string,
  ): Promise<Pick<SaveJobReply, 'job' | 'message'> | undefined> {
    const { text } = draft;
    const definition = definitionToSave(draft.value as JobDefinition, job);
    let saved: Pick<SaveJobReply, 'job' | 'message'> | undefined;
    await this.action.run(async () => {
      try {
        saved =
          job === undefined
            ? created(await createJob(definition, note))
            : await saveJob(job.id, { definition, expectedVersion, note });
      } catch (error) {
        if (error instanceof ApiError) {
          draft.tell(text, error.details);
          const conflict = conflictOf(error);
          if (conflict !== undefined) {
            this.conflict = conflict;
            return;
          }
        }
        throw error;
      }
    });
    return saved;
  }
}

function created(job: Job): Pick<SaveJobReply, 'job' | 'message'> {
  return { job, message: `Job ${job.name} created` };
}

/**
 * Spells out the defaults of what the text leaves out: the server keeps fields of the job that a request doesn't name,
 * but here, leaving one out means removing it.
 */
export function definitionToSave(definition: JobDefinition, job: Job | undefined): JobDefinition {
  if (job === undefined) return definition;
  return {
    ...(job.isTemplate ? { template: false } : {}),
    ...(Object.keys(job.labels).length > 0 ? { labels: {} } : {}),
    category: generalCategory.name,
    ...definition,
  };
}

function conflictOf({ code, conflict }: ApiError): Conflict | undefined {
  const { theirs } = Object(conflict) as Partial<Conflict>;
  return code === 'conflict' && typeof theirs?.version === 'number' && Array.isArray(theirs.definition?.steps)
    ? { theirs }
    : undefined;
}
