// What an error says, in every answer of the API and of each problem of a definition.
import { type Static, Type } from 'typebox';

export const errorCodes = [
  'invalid',
  'unauthenticated',
  'forbidden',
  'not_found',
  'conflict',
  'output_expired',
  'too_large',
  'rate_limited',
  'unavailable',
  'internal',
] as const;
export type ErrorCode = (typeof errorCodes)[number];

export const ErrorDetailSchema = Type.Object({
  path: Type.String({
    description: 'Where it is, as in `steps[2].config.timeout`; empty for the whole body',
  }),
  message: Type.String({ description: 'One sentence: what is wrong and what to do' }),
  found: Type.Optional(Type.String({ description: 'What was found, shortened; never a secret' })),
  allowed: Type.Optional(Type.String({ description: 'What is allowed' })),
  line: Type.Optional(Type.Integer({ description: 'Line in a YAML body, from 1' })),
  column: Type.Optional(Type.Integer({ description: 'Column from 1, in UTF-16 units' })),
});
export type ErrorDetail = Static<typeof ErrorDetailSchema>;
export const ErrorBodySchema = Type.Object({
  error: Type.Object({
    code: Type.Enum(errorCodes),
    message: Type.String(),
    requestId: Type.String(),
    details: Type.Optional(Type.Array(ErrorDetailSchema)),
    conflict: Type.Optional(
      Type.Unknown({
        description: 'Both sides, if somebody else saved the job first: `SaveConflict`',
      }),
    ),
  }),
});
export type ErrorBody = Static<typeof ErrorBodySchema>;

/** Severity of an installation's rules. `error`: a violation can't be saved; `warning`: it is saved and reported. */
export const siteRuleSeverities = ['error', 'warning'] as const;
export type SiteRuleSeverity = (typeof siteRuleSeverities)[number];
/** A problem at one place of a definition, with its severity. */
export const DefinitionProblemSchema = Type.Object({
  ...ErrorDetailSchema.properties,
  severity: Type.Enum(siteRuleSeverities, { description: 'With an `error` the definition can’t be saved' }),
  rule: Type.Optional(Type.String({ description: 'Name of the site rule that it breaks' })),
});
export type DefinitionProblem = Static<typeof DefinitionProblemSchema>;
