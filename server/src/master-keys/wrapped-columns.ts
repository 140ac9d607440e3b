// Every column that holds keys wrapped by the master key, and the context that each wrap is bound to.
import { serverKeyContext } from '../auth/installation/open-installation.ts';
import { contentKeyContext } from '../files/content-pieces.ts';
import { importKeyContext } from '../jobs/bundles/import-seal.ts';
import { jobKeyContext } from '../jobs/definition/seal-definition.ts';
import { runKeyContext } from '../runs/run-keys.ts';
import { rootContext } from '../segments/segment-root.ts';
import type { WrappedColumn } from '../store/installation/wrapped-keys.ts';

export const wrappedColumns: readonly (WrappedColumn & { contextOf(boundTo: string): string })[] = [
  {
    table: 'installation',
    column: 'server_key_sealed',
    isBytes: true,
    idType: 'uuid',
    contextOf: serverKeyContext,
  },
  {
    table: 'segments',
    column: 'root_key_sealed',
    isBytes: true,
    idType: 'bigint',
    contextOf: (id) => rootContext(Number(id)),
  },
  {
    table: 'jobs',
    column: 'data_key',
    isBytes: false,
    idType: 'bigint',
    contextOf: (id) => jobKeyContext(Number(id)),
  },
  {
    table: 'job_runs',
    column: 'data_key',
    isBytes: false,
    idType: 'bigint',
    boundTo: 'job_id',
    contextOf: (jobId) => runKeyContext(Number(jobId)),
  },
  { table: 'job_imports', column: 'data_key', isBytes: false, idType: 'uuid', contextOf: importKeyContext },
  { table: 'contents', column: 'data_key', isBytes: false, idType: 'uuid', contextOf: contentKeyContext },
];
