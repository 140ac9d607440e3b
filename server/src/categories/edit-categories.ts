import {
  type Category,
  type CreateCategoryRequestSchema,
  generalCategory,
  limits,
  type UpdateCategoryRequest,
} from '@opsconductor/protocol';
import type { Static } from 'typebox';
import { recordAudit } from '../audit/record-audit.ts';
import { grantedPermissions } from '../auth/authority.ts';
import { MissingPermission } from '../auth/missing-permission.ts';
import { auditedBy, type Caller } from '../caller.ts';
import { refuseChanged } from '../conflicts/refuse-changed.ts';
import { AppError, invalidField, notFound } from '../errors.ts';
import { type Sql, type Tx, violatedConstraint } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import {
  grantsGainedBelow,
  holdCategory,
  insertCategory,
  lockAgainstGrants,
  lockCategory,
  lockCategoryTree,
  longestBelow,
  updateCategory as updateCategoryRow,
} from '../store/jobs/categories.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { refuseUnstorableText } from '../validation/storable-text.ts';
import { getCategory } from './list-categories.ts';

type CreateCategoryRequest = Static<typeof CreateCategoryRequestSchema>;
const maxPathChars = 200;

/**
 * Creates a category at its path. Grants on the categories above it also apply to it.
 * @throws {AppError} `conflict` if the path is taken; `invalid` if its parent does not exist, or it is nested too deep.
 */
export async function createCategory(
  sql: Sql,
  request: CreateCategoryRequest,
  caller: Caller,
): Promise<Category> {
  refuseUnstorableText(request);
  const fields = { name: request.name, description: request.description ?? '' };
  refuseBadPath(fields.name);
  const id = await inTransaction(sql, async (tx) => {
    await lockCategoryTree(tx);
    const id = await insertCategory(tx, { ...fields, parentId: await parentOf(tx, fields.name) });
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'category.created',
      object: { kind: 'category', id },
      scope: { categoryId: id },
      detail: fields,
    });
    return id;
  }).catch((error) => {
    throw refusalOf(error, request.name);
  });
  return getCategory(sql, id, unrestricted);
}

/**
 * Changes a category; what the request leaves out stays unchanged. Its jobs stay in it, whatever its name; another path
 * moves it, with everything below it.
 * @throws {AppError} `not_found`; `conflict` for a taken path, for renaming the default category, or if a field does
 * not have the value that the request expects; `invalid` for a path inside itself, too deep or too long, or below a
 * category that does not exist or that the caller may not see: its jobs may use the files of the categories above;
 * `forbidden` if others would get rights on it that the caller does not hold there.
 */
export async function updateCategory(
  sql: Sql,
  id: number,
  request: UpdateCategoryRequest,
  caller: Caller,
): Promise<Category> {
  refuseUnstorableText(request);
  await inTransaction(sql, async (tx) => {
    await lockCategoryTree(tx);
    const category = await lockCategory(tx, id);
    if (category === undefined) throw notFound('Category');
    const before = { name: category.name, description: category.description };
    refuseChanged(`Category ${category.name}`, before, request.expected);
    const fields = {
      name: request.name ?? before.name,
      description: request.description ?? before.description,
    };
    const isMoved = fields.name !== category.name;
    if (id === generalCategory.id && isMoved) {
      throw new AppError(
        'conflict',
        `${category.name} is the category of jobs that name none: it keeps its name.`,
      );
    }
    let parentId = category.parentId;
    if (isMoved) {
      refuseBadPath(fields.name);
      await refuseTooLong(tx, id, category.name, fields.name);
      // A new name in the same place moves nothing.
      const isSeen = (id: number) => id === category.parentId || caller.authority.holdsOnCategory('read', id);
      parentId = await parentOf(tx, fields.name, isSeen);
      if (parentId !== category.parentId) await refuseWidening(tx, category, parentId, caller);
    }
    await updateCategoryRow(tx, id, { ...fields, parentId });
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'category.changed',
      object: { kind: 'category', id },
      scope: { categoryId: id },
      detail: { from: before, to: fields },
    });
  }).catch((error) => {
    throw refusalOf(error, request.name);
  });
  return getCategory(sql, id, unrestricted);
}

/** Returns the parent of a category at this path, which must exist; null at the top. */
async function parentOf(
  tx: Tx,
  path: string,
  isSeen: (id: number) => boolean = () => true,
): Promise<number | null> {
  const at = path.lastIndexOf('/');
  if (at < 0) return null;
  const above = path.slice(0, at);
  const parent = await holdCategory(tx, above);
  if (parent !== undefined && isSeen(parent.id)) return parent.id;
  throw invalidField('name', `There is no category ${above} to put it in; create that first.`, {
    found: path,
    allowed: 'a name, or the path of a category, a slash and a name',
  });
}

/**
 * To put a category into another one gives it to everyone who holds rights on that, and callers can give only what they
 * hold.
 */
async function refuseWidening(
  tx: Tx,
  { id, name }: { id: number; name: string },
  parentId: number | null,
  caller: Caller,
): Promise<void> {
  if (parentId === null) return;
  await lockAgainstGrants(tx, parentId);
  const scope = { kind: 'category', id: parentId } as const;
  for (const { on, role, permission } of await grantsGainedBelow(tx, id, parentId)) {
    const lacking = grantedPermissions({ role, permission, scope }).find(
      (one) => !caller.authority.holdsOnCategory(one, id),
    );
    if (lacking === undefined) continue;
    const where = `category “${name}”, because it would lie in “${on}”, on which others have it`;
    throw new MissingPermission(caller, lacking, where);
  }
}

function refuseBadPath(path: string): void {
  const parts = path.split('/');
  if (parts.some((part) => part === '' || part !== part.trim())) {
    throw invalidField('name', 'Has a part that is empty or begins or ends with white space.', {
      found: path,
      allowed: 'names with single slashes between them, such as prod/db',
    });
  }
  if (parts.length > limits.maxCategoryDepth) throw tooDeep(path);
}

async function refuseTooLong(tx: Tx, id: number, from: string, to: string): Promise<void> {
  const longest = (await longestBelow(tx, id)) - from.length + to.length;
  if (longest <= maxPathChars) return;
  throw invalidField('name', `Including what is below it, the path would have ${longest} characters.`, {
    found: to,
    allowed: `paths of ${maxPathChars} characters at most`,
  });
}

function refusalOf(error: unknown, name = ''): unknown {
  switch (violatedConstraint(error)) {
    case 'categories_name_key': {
      const message = `There is a category named ${name} already; choose another name.`;
      return new AppError('conflict', message, { cause: error, details: [{ path: 'name', message }] });
    }
    case 'categories_no_cycle':
      return invalidField('name', 'The category would be inside itself; move it elsewhere.', {
        found: name,
      });
    case 'categories_depth':
      return tooDeep(name);
    default:
      return error;
  }
}

function tooDeep(path: string): AppError {
  return invalidField('name', `Categories can be nested at most ${limits.maxCategoryDepth} deep.`, {
    found: path,
  });
}
