import type { Category, Job, UpdateCategoryRequest } from '@opsconductor/protocol';
import { apiPaths } from '../../paths.ts';
import { request } from '../client.ts';
import { readWhole } from '../page.ts';

export function listCategories(signal?: AbortSignal): Promise<Category[]> {
  return readWhole(apiPaths.categories(), signal);
}

export function createCategory(category: { name: string; description: string }): Promise<Category> {
  return request('POST', apiPaths.categories(), { body: category });
}

export function fetchCategory(id: number): Promise<Category> {
  return request('GET', apiPaths.category(id));
}

export function updateCategory(id: number, category: UpdateCategoryRequest): Promise<Category> {
  return request('PUT', apiPaths.category(id), { body: category });
}

/** Deletes a category and those below it, after moving their jobs to `moveJobsTo`; all of it or nothing. */
export function deleteCategory(id: number, moveJobsTo?: string): Promise<void> {
  return request('DELETE', apiPaths.category(id, { below: true, moveJobsTo }));
}

/** Moves a job together with its runs. */
export function moveJob(id: number, category: string): Promise<Job> {
  return request('PUT', apiPaths.jobCategory(id), { body: { category } });
}
