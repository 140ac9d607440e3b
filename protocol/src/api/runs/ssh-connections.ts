// The SSH connections that carried the steps of a run.
import { type Static, Type } from 'typebox';
import { Closed, Id, Nullable, Page, pageQuery, Timestamp } from '../schema-parts.ts';

export const SshConnectionSchema = Type.Object({
  id: Id,
  targetRunId: Id,
  targetName: Type.String(),
  agentName: Nullable(Type.String()),
  sessionId: Type.String({
    description: 'The agent’s name for the connection, the same in all runs that used it',
  }),
  /** By the agent’s clock; before the run began, if the connection was open already. */
  establishedAt: Nullable(Timestamp),
  commandsExecuted: Type.Integer({ description: 'Commands that steps of this run began over it' }),
  filesTransferred: Type.Integer({ description: 'Files that steps of this run created or changed over it' }),
  totalBytesTransferred: Type.Integer({
    description: 'Bytes of output and of files, before compression, that came or went over it for this run',
  }),
});
export type SshConnection = Static<typeof SshConnectionSchema>;

export const SshConnectionQuerySchema = Closed({
  ...pageQuery,
  targetRunId: Type.Optional(Id),
});
export type SshConnectionQuery = Static<typeof SshConnectionQuerySchema>;
export const SshConnectionPageSchema = Page(SshConnectionSchema);
export type SshConnectionPage = Static<typeof SshConnectionPageSchema>;
