// What was made with a session or an API token, and what ends together with it.
import { type Static, Type } from 'typebox';
import { Closed, Id, Nullable, Timestamp } from '../schema-parts.ts';

/** The session or API token with which something was made. It may have ended since. */
export const MadeWithSchema = Type.Object({
  kind: Type.Enum(['api_token', 'session']),
  id: Id,
  user: Nullable(Type.String({ description: 'Whose it was; null if the user was deleted' })),
  name: Nullable(Type.String({ description: 'Of the API token' })),
  begunAt: Nullable(Type.String({ description: 'When the session began', maxLength: 40 })),
  hasEnded: Type.Boolean(),
});
export type MadeWith = Static<typeof MadeWithSchema>;

export const madeKinds = ['api_token', 'session', 'sign_in_link', 'enrollment_token', 'agent'] as const;
export type MadeKind = (typeof madeKinds)[number];

/** Why something is not ended together with what it was made with. */
export const stayReasons = [
  'needs_people_edit',
  'user_holds_more',
  'needs_agents_enroll',
  'agent',
  'asks',
] as const;
export type StayReason = (typeof stayReasons)[number];

export const MadeThingSchema = Type.Object({
  kind: Type.Enum(madeKinds),
  id: Id,
  createdAt: Timestamp,
  name: Nullable(Type.String({ description: 'Of an API token or agent; null if the caller may not see it' })),
  user: Nullable(
    Type.String({
      description: 'Whose API token, session or sign-in link it is; null if the caller may not see it',
    }),
  ),
  segment: Nullable(
    Type.String({
      description:
        'Where an enrollment token admits an agent, or where the agent is; null if the caller may not see it',
    }),
  ),
  stays: Nullable(
    Type.Enum(stayReasons, {
      description:
        'Null: it ends. Otherwise why not: the caller lacks `people.edit`, or its user holds more than the caller, or the caller lacks `agents.enroll` in its segment, or it is an agent (revoke it), or it is the session or token that asks',
    }),
  ),
});
export type MadeThing = Static<typeof MadeThingSchema>;

/** What was made with something, directly and indirectly, and has not ended by itself. */
export const MadeSchema = Type.Object({
  ends: Type.Integer({ description: 'How many of them end, or were ended' }),
  stays: Type.Integer({ description: 'How many do not, because the caller may not end them one by one' }),
  items: Type.Array(MadeThingSchema, { description: 'At most 200; first those that stay' }),
});
export type Made = Static<typeof MadeSchema>;

/** A session or API token that has ended although something that was made with it still works. */
export const EndedMakerSchema = Type.Object({
  kind: Type.Enum(['api_token', 'session']),
  id: Id,
  name: Nullable(Type.String({ description: 'Of the API token' })),
  begunAt: Nullable(Type.String({ description: 'When the session began', maxLength: 40 })),
  made: Type.Integer({
    description: 'How many things still work, made directly or indirectly; agents are not counted',
  }),
});
export type EndedMaker = Static<typeof EndedMakerSchema>;
export const EndedMakerListSchema = Type.Object({
  items: Type.Array(EndedMakerSchema, { description: 'At most 200, the newest first' }),
});

export const MadeQuerySchema = Closed({
  token: Type.Optional(Id),
  session: Type.Optional(Id),
});
export type MadeQuery = Static<typeof MadeQuerySchema>;

export const EndQuerySchema = Closed({
  made: Type.Optional(
    Type.Boolean({ description: 'Also ends what was made with it, directly and indirectly' }),
  ),
});
