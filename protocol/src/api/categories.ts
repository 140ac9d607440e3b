// Categories: jobs are sorted into them, and rights on jobs are granted on them.
import { type Static, Type } from 'typebox';
import { Closed, Id, Timestamp } from './common.ts';
import { Description, DisplayName } from './text.ts';

/** The category of jobs that name none; it can't be deleted. */
export const generalCategory = { id: 1, name: 'general' } as const;

export const CategorySchema = Type.Object({
  id: Id,
  name: Type.String(),
  description: Type.String(),
  jobCount: Type.Integer(),
  createdAt: Timestamp,
});
export type Category = Static<typeof CategorySchema>;

/** For creating a category and for changing it as a whole. */
export const CategoryRequestSchema = Closed({
  name: DisplayName(),
  description: Type.Optional(Description(1000)),
});
/** Moves a job; its definition and version stay. */
export const MoveJobRequestSchema = Closed({ category: DisplayName() });
