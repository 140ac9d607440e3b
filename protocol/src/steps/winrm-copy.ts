import { type Static, Type } from 'typebox';
import { windowsPathPattern } from './patterns.ts';
import {
  bandwidthLimitField,
  createDirectoriesField,
  directionField,
  filterFields,
  overwriteFieldOf,
  pathFields,
  preserveTimesField,
  resumeField,
  retriesField,
  timeoutField,
} from './transfer-fields.ts';

/**
 * Configuration of a step of type `winrm.copy`: copies files and directories between the agent and a Windows target.
 */
export const WinrmCopyConfigSchema = Type.Object(
  {
    local_path: Type.String({
      ...pathFields.local_path,
      description:
        'Absolute; inside a directory allowed by the agent’s policy file. As a source, its last part may contain * and ?.',
    }),
    remote_path: Type.String({
      minLength: 1,
      maxLength: 4096,
      pattern: windowsPathPattern,
      title: 'Path on the target',
      description: 'Absolute: C:\\… As a source, its last part may contain * and ?.',
    }),
    direction: directionField,
    timeout: timeoutField,
    create_directories: createDirectoriesField,
    overwrite: overwriteFieldOf('different', 'replaced if its SHA-256 is different'),
    preserve_times: preserveTimesField,
    ...filterFields,
    symlinks: Type.Optional(
      Type.Enum(['follow', 'skip', 'fail'], {
        default: 'follow',
        title: 'Links',
        description:
          'What happens to links and junctions: followed, so that what they point to is copied; left out; or they fail.',
      }),
    ),
    resume: resumeField,
    retries: retriesField,
    bandwidth_limit: bandwidthLimitField,
  },
  { additionalProperties: false },
);
export type WinrmCopyConfig = Static<typeof WinrmCopyConfigSchema>;
