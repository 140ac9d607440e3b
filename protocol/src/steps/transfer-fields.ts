// Fields shared by the step types that transfer files.
import { Type } from 'typebox';
import { agentPathPattern, fileNamePattern, noNulPattern, targetPathPattern } from './patterns.ts';
import { BecomeSchema } from './ssh-exec.ts';

/** Default timeout of a transfer, in seconds. */
const transferTimeoutS = 3_600;

const Pattern = Type.String({ minLength: 1, maxLength: 1_000, pattern: noNulPattern });
const Patterns = (title: string, description: string) =>
  Type.Optional(Type.Array(Pattern, { minItems: 1, maxItems: 200, title, description }));
const Flag = (defaultValue: boolean, title: string, description: string) =>
  Type.Optional(Type.Boolean({ default: defaultValue, title, description }));

const agentPathText = 'Absolute; inside a directory allowed by the agent’s policy file';
const targetPathText = 'Absolute, or ~/… for the home directory of the user there';

/** Names of the two ends of a transfer. */
export const pathFields = {
  local_path: Type.String({
    minLength: 1,
    maxLength: 4096,
    pattern: agentPathPattern,
    title: 'Path on the agent',
    description: agentPathText,
  }),
  remote_path: Type.String({
    minLength: 1,
    maxLength: 4096,
    pattern: targetPathPattern,
    title: 'Path on the target',
    description: targetPathText,
  }),
};

/** The same, of a source: its last part may be a pattern. */
const sourceText =
  'Its last part may contain * and ?: what matches goes into the directory that the other path names.';
export const sourceFields = {
  local_path: Type.String({ ...pathFields.local_path, description: `${agentPathText}. ${sourceText}` }),
  remote_path: Type.String({ ...pathFields.remote_path, description: `${targetPathText}. ${sourceText}` }),
};

/** Replaces the path on the agent: exactly one of the two must be given (definition/checks/step-problems.ts). */
export const fileField = Type.Optional(
  Type.String({
    minLength: 1,
    maxLength: 200,
    pattern: fileNamePattern,
    title: 'File of the server',
    description: 'Name of an uploaded file, instead of a path on the agent',
  }),
);
export const artifactField = Type.Optional(
  Type.Boolean({
    title: 'Keep as artifacts',
    description: 'Whether downloaded files become artifacts of the run, instead of files on the agent',
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
    'Files there are read and written as that user, by sudo or su; the login user stays the same. Name a user, or su; `{}` means root by sudo.',
});

export const timeoutField = Type.Optional(
  Type.Integer({
    minimum: 1,
    maximum: 604_800,
    default: transferTimeoutS,
    title: 'Timeout',
    description: 'For the whole transfer, in seconds',
  }),
);

export const createDirectoriesField = Flag(
  false,
  'Create directories',
  'Whether missing directories above the destination are created',
);

/** For copies: what happens to a file that already exists. */
export const overwriteFieldOf = (
  isDefault: 'always' | 'different',
  different = 'replaced if size or time is different',
) =>
  Type.Optional(
    Type.Enum(['always', 'different', 'newer', 'never', 'fail'], {
      default: isDefault,
      title: 'Overwrite',
      description: `What happens to a file that already exists: always replaced; ${different}; replaced if the source is newer; left alone; or the file fails.`,
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
  'Whether files and directories get the user and group of the source, by number; the user there must be allowed to do that, as root is',
);

const Mode = (title: string, description: string) =>
  Type.Optional(Type.String({ pattern: '^[0-7]{3,4}$', title, description }));
export const modeFields = {
  mode: Mode('File mode', 'Permission bits of the files, octal: 0644'),
  directory_mode: Mode('Directory mode', 'Permission bits of directories that are created, octal: 0755'),
};

export const filterFields = {
  include: Patterns(
    'Include',
    'Patterns as in rsync, applied before those of exclude: matching files are transferred',
  ),
  exclude: Patterns(
    'Exclude',
    'Patterns as in rsync: matching files are left out, and matching directories with everything in them',
  ),
};

export const symlinksField = Type.Optional(
  Type.Enum(['copy', 'skip', 'follow', 'fail'], {
    default: 'copy',
    title: 'Links',
    description:
      'What happens to symbolic links: recreated as links; left out; followed, so that what they point to is transferred; or they fail.',
  }),
);

export const resumeField = Flag(
  true,
  'Resume',
  'Whether an interrupted transfer of a large file continues, after the part already there has been compared',
);

export const retriesField = Type.Optional(
  Type.Integer({
    minimum: 0,
    maximum: 10,
    default: 3,
    title: 'Retries',
    description: 'How often a file is tried again if the connection breaks or the file changes meanwhile',
  }),
);

export const bandwidthLimitField = Type.Optional(
  Type.Integer({
    minimum: 1,
    maximum: 10_000_000,
    title: 'Bandwidth limit',
    description: 'In KiB per second; by default unlimited',
  }),
);

/** How persistent the transfer is, and how it verifies the result. */
export const conductFields = {
  verify: Type.Optional(
    Type.Enum(['size', 'checksum'], {
      default: 'size',
      title: 'Verify',
      description: 'What is compared after each file: the size, or the SHA-256 of both sides',
    }),
  ),
  resume: resumeField,
  retries: retriesField,
  bandwidth_limit: bandwidthLimitField,
};

/** What `sftp.upload` and `sftp.download` have in common. */
export const sftpTransferFields = {
  become: transferBecomeField,
  timeout: timeoutField,
  create_directories: createDirectoriesField,
  overwrite: overwriteField,
  preserve_permissions: preservePermissionsField(false),
  preserve_times: preserveTimesField,
  preserve_owner: preserveOwnerField,
  ...modeFields,
  ...filterFields,
  symlinks: symlinksField,
  ...conductFields,
};
