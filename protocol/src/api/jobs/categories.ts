// Categories: jobs are sorted into them, and rights on jobs are granted on them.
import { type Static, Type } from 'typebox';
import { Changes, Closed, Id, Nullable, Timestamp } from '../common.ts';
import { Description, DisplayName } from '../text.ts';

/** The category of jobs that name none; it can't be deleted. */
export const generalCategory = { id: 1, name: 'general' } as const;

/** `prod` or `prod/db`: the way from the top of the tree. */
export const CategoryPath = () => DisplayName(200);

export const CategorySchema = Type.Object({
  id: Id,
  /** The whole path, `prod/db`. */
  name: Type.String(),
  /** The category that it lies in, where the caller may see that; null at the top. */
  parentId: Nullable(Id),
  description: Type.String(),
  /** In itself; not in those below it. */
  jobCount: Type.Integer(),
  createdAt: Timestamp,
});
export type Category = Static<typeof CategorySchema>;

export const CreateCategoryRequestSchema = Closed({
  /** A path: `prod/db` lies in `prod`, which must be there. What is granted on a category reaches those below it. */
  name: CategoryPath(),
  description: Type.Optional(Description(1000)),
});
/** What is left out stays as it is. Another path moves the category, with all below it. */
export const UpdateCategoryRequestSchema = Changes({
  name: Type.Optional(CategoryPath()),
  description: Type.Optional(Description(1000)),
});
export type UpdateCategoryRequest = Static<typeof UpdateCategoryRequestSchema>;

/** What goes with the category; without these only one is deleted in which nothing lies. */
export const DeleteCategoryQuerySchema = Closed({
  below: Type.Optional(Type.Boolean({ description: 'With all categories below it' })),
  moveJobsTo: Type.Optional(CategoryPath()),
});
export type DeleteCategoryQuery = Static<typeof DeleteCategoryQuerySchema>;

/** Moves a job; its definition and version stay. */
export const MoveJobRequestSchema = Closed({ category: CategoryPath() });
