// Fields that step types which transfer files share.
import { Type } from 'typebox';
import { agentPathPattern, fileNamePattern, noNulPattern, targetPathPattern } from './patterns.ts';
import { BecomeSchema } from './ssh-exec.ts';

/** Seconds that a transfer may take unless told. */
export const transferTimeoutS = 3_600;

const Pattern = Type.String({ minLength: 1, maxLength: 1_000, pattern: noNulPattern });
const Patterns = (title: string, description: string) =>
  Type.Optional(Type.Array(Pattern, { minItems: 1, maxItems: 200, title, description }));
const Flag = (defaultValue: boolean, title: string, description: string) =>
  Type.Optional(Type.Boolean({ default: defaultValue, title, description }));

/** What both ends are called. */
export const pathFields = {
  local_path: Type.String({
    minLength: 1,
    maxLength: 4096,
    pattern: agentPathPattern,
    title: 'Path on the agent',
    description: 'Absolute; inside a directory that the policy file of the agent allows',
  }),
  remote_path: Type.String({
    minLength: 1,
    maxLength: 4096,
    pattern: targetPathPattern,
    title: 'Path on the target',
    description: 'Absolute, or ~/… in the home directory of the user there',
  }),
};

/** In place of the path on the agent: exactly one of them is given (definition/step-problems.ts). */
export const fileField = Type.Optional(
  Type.String({
    minLength: 1,
    maxLength: 200,
    pattern: fileNamePattern,
    title: 'File of the server',
    description: 'Name of an uploaded file, in place of a path on the agent',
  }),
);
export const artifactField = Type.Optional(
  Type.Boolean({
    title: 'Keep as artifacts',
    description: 'Whether what is downloaded becomes artifacts of the run, in place of files on the agent',
  }),
);

export const directionField = Type.Optional(
  Type.Enum(['push', 'pull'], {
    default: 'push',
    title: 'Direction',
    description: 'push: from the agent to the target. pull: from the target to the agent.',
  }),
);

export const transferBecomeField = Type.Optional({
  ...BecomeSchema,
  title: 'Become another user on the target',
  description:
    'Files there are read and written as that user, by sudo or su; who logs in stays the same. Name a user, or su; `{}` is root by sudo.',
});

export const timeoutField = Type.Optional(
  Type.Integer({
    minimum: 1,
    maximum: 604_800,
    default: transferTimeoutS,
    title: 'Timeout',
    description: 'Of the whole transfer, in seconds',
  }),
);

export const createDirectoriesField = Flag(
  false,
  'Create directories',
  'Whether directories above the destination are made where they are missing',
);

/** Of a copy, which says what becomes of a file that is there already. */
export const overwriteFieldOf = (
  isDefault: 'always' | 'different',
  different = 'replaced when size or time is different',
) =>
  Type.Optional(
    Type.Enum(['always', 'different', 'newer', 'never', 'fail'], {
      default: isDefault,
      title: 'Overwrite',
      description: `What becomes of a file that is there: always replaced; ${different}; when the source is newer; left alone; or the file fails.`,
    }),
  );
export const overwriteField = overwriteFieldOf('always');

export const preservePermissionsField = (isDefault: boolean) =>
  Flag(
    isDefault,
    'Preserve permissions',
    'Whether files and directories get the permission bits of the source',
  );
export const preserveTimesField = Flag(
  false,
  'Preserve times',
  'Whether files and directories get the modification times of the source',
);

export const preserveOwnerField = Flag(
  false,
  'Preserve owner',
  'Whether files and directories get user and group of the source, by number; the destination must let its user do that, as it lets root',
);

const Mode = (title: string, description: string) =>
  Type.Optional(Type.String({ pattern: '^[0-7]{3,4}$', title, description }));
export const modeFields = {
  mode: Mode('File mode', 'Permission bits of the files, octal: 0644'),
  directory_mode: Mode('Directory mode', 'Permission bits of directories that are made, octal: 0755'),
};

export const filterFields = {
  include: Patterns(
    'Include',
    'Patterns as rsync has them, looked at before those of exclude: what matches one is transferred',
  ),
  exclude: Patterns(
    'Exclude',
    'Patterns as rsync has them: what matches one is left out, a directory with all in it',
  ),
};

export const symlinksField = Type.Optional(
  Type.Enum(['copy', 'skip', 'follow', 'fail'], {
    default: 'copy',
    title: 'Links',
    description:
      'What becomes of symbolic links: made anew as links; left out; what they lead to is transferred; or they fail.',
  }),
);

export const resumeField = Flag(
  true,
  'Resume',
  'Whether a large file that was broken off is gone on with, after what is there was compared',
);

export const retriesField = Type.Optional(
  Type.Integer({
    minimum: 0,
    maximum: 10,
    default: 3,
    title: 'Retries',
    description: 'How often a file is tried again when the connection breaks or the file changes meanwhile',
  }),
);

export const bandwidthLimitField = Type.Optional(
  Type.Integer({
    minimum: 1,
    maximum: 10_000_000,
    title: 'Bandwidth limit',
    description: 'KiB a second; as fast as it goes unless told',
  }),
);

/** How hard it tries, and how it makes sure. */
export const conductFields = {
  verify: Type.Optional(
    Type.Enum(['size', 'checksum'], {
      default: 'size',
      title: 'Verify',
      description: 'What is compared after each file: its size, or the SHA-256 of both sides',
    }),
  ),
  resume: resumeField,
  retries: retriesField,
  bandwidth_limit: bandwidthLimitField,
};
