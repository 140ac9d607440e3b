import {
  CategorySchema,
  Closed,
  CreateCategoryRequestSchema,
  DeleteCategoryQuerySchema,
  Id,
  Page,
  UpdateCategoryRequestSchema,
} from '@opsconductor/protocol';
import { callerOf } from '../../../caller.ts';
import { deleteCategory } from '../../../categories/delete-category.ts';
import { createCategory, updateCategory } from '../../../categories/edit-categories.ts';
import { getCategory, listCategories } from '../../../categories/list-categories.ts';
import type { MasterKey } from '../../../credentials/at-rest/master-key.ts';
import type { Sql } from '../../../store/database/connection.ts';
import { type RouteSpec, route } from '../../route.ts';

const tag = 'categories';
const params = Closed({ id: Id });

export interface CategoryRouteDeps {
  sql: Sql;
  masterKey: MasterKey;
  /** Called when the tree has changed, because grants on a category apply to those below it. */
  forgetEverybody(): void;
}

export function categoryRoutes({ sql, masterKey, forgetEverybody }: CategoryRouteDeps): RouteSpec[] {
  const thenForget = async <T>(change: Promise<T>): Promise<T> => {
    const changed = await change;
    forgetEverybody();
    return changed;
  };
  return [
    route({
      method: 'GET',
      path: '/api/v1/categories',
      permission: 'read',
      scoped: true,
      summary: 'List the categories of jobs, all on one page',
      tag,
      success: { status: 200, schema: Page(CategorySchema) },
      handle: async ({ principal }) => ({
        items: await listCategories(sql, principal.authority.reach('read')),
        nextCursor: null,
      }),
    }),
    route({
      method: 'POST',
      path: '/api/v1/categories',
      permission: 'categories.edit',
      summary: 'Create a category',
      description:
        'The name is its path: `prod/db` lies in `prod`, which must exist. What is granted on a category also applies to those below it.',
      tag,
      body: CreateCategoryRequestSchema,
      example: { name: 'prod/web', description: 'What serves the shop' },
      success: { status: 201, schema: CategorySchema },
      handle: (request) => thenForget(createCategory(sql, request.body, callerOf(request))),
    }),
    route({
      method: 'GET',
      path: '/api/v1/categories/:id',
      permission: 'read',
      scoped: true,
      summary: 'Get a category',
      tag,
      params,
      success: { status: 200, schema: CategorySchema },
      handle: ({ params, principal }) => getCategory(sql, params.id, principal.authority.reach('read')),
    }),
    route({
      method: 'PUT',
      path: '/api/v1/categories/:id',
      permission: 'categories.edit',
      summary: 'Change a category',
      description:
        'Fields that are left out stay unchanged. Its jobs and the grants on it stay, whatever its name. A different path moves it with everything below it: rights that it inherited from its former parent are lost, and those of the new parent apply. You must see the new parent, and hold on the category what anyone holds on the new parent. `expected` gives the values that fields had before the change; if any of them differs by now, the answer is 409, with a detail for each.',
      tag,
      params,
      body: UpdateCategoryRequestSchema,
      example: { description: 'What serves the shop', expected: { description: '' } },
      success: { status: 200, schema: CategorySchema },
      handle: (request) =>
        thenForget(updateCategory(sql, request.params.id, request.body, callerOf(request))),
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/categories/:id',
      permission: 'categories.edit',
      summary: 'Delete a category, and the grants on it',
      description:
        'It must contain no jobs and no categories. With `below`, those below it are deleted too; with `moveJobsTo`, all their jobs, including archived ones, first move to that category with their runs, and its files too, which needs `jobs.edit` on both categories. All of it or nothing.',
      tag,
      params,
      query: DeleteCategoryQuerySchema,
      success: { status: 204 },
      handle: (request) =>
        thenForget(deleteCategory({ sql, masterKey }, request.params.id, request.query, callerOf(request))),
    }),
  ];
}
