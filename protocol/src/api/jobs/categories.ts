// Categories: jobs are sorted into them, and rights on jobs are granted on them.
import { type Static, Type } from 'typebox';
import { Changes, Closed, Id, Nullable, Timestamp } from '../schema-parts.ts';
import { Description, DisplayName } from '../text.ts';

/** The category of jobs that name none. It can't be deleted. */
export const generalCategory = { id: 1, name: 'general' } as const;

/** The path from the top of the tree, such as `prod` or `prod/db`. */
export const CategoryPath = () => DisplayName(200);

export const CategorySchema = Type.Object({
  id: Id,
  /** The whole path, such as `prod/db`. */
  name: Type.String(),
  /** The parent category, if the caller may see it; `null` at the top. */
  parentId: Nullable(Id),
  description: Type.String(),
  /** Jobs directly in this category, not in those below it. */
  jobCount: Type.Integer(),
  createdAt: Timestamp,
});
export type Category = Static<typeof CategorySchema>;

export const CreateCategoryRequestSchema = Closed({
  /** A path: `prod/db` lies in `prod`, which must exist. Grants on a category also apply to those below it. */
  name: CategoryPath(),
  description: Type.Optional(Description(1000)),
});
/** Omitted fields stay as they are. A different path moves the category and everything below it. */
export const UpdateCategoryRequestSchema = Changes({
  name: Type.Optional(CategoryPath()),
  description: Type.Optional(Description(1000)),
});
export type UpdateCategoryRequest = Static<typeof UpdateCategoryRequestSchema>;

/** What happens to the content of the category. Without these, only an empty category can be deleted. */
export const DeleteCategoryQuerySchema = Closed({
  below: Type.Optional(Type.Boolean({ description: 'Also delete all categories below it' })),
  moveJobsTo: Type.Optional(CategoryPath()),
});
export type DeleteCategoryQuery = Static<typeof DeleteCategoryQuerySchema>;

/** Moves a job; its definition and version stay the same. */
export const MoveJobRequestSchema = Closed({ category: CategoryPath() });
