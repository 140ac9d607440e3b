// What the pages of a job's versions need to know of it: of a deleted one, no more is left.
import type { ShownJob } from '@opsconductor/protocol';

export type VersionedJob = Pick<ShownJob, 'id' | 'name' | 'version' | 'state' | 'names' | 'serverDefaults'>;
