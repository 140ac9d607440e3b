// Shows the values of a run to its readers. Secrets are named but never shown: no server can open them.
import { isDeepStrictEqual } from 'node:util';
import type { RunParameter, Step } from '@opsconductor/protocol';
import { unwrapDataKey } from '../../credentials/at-rest/data-key.ts';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import { loadJobVersion } from '../../jobs/versions/load-job-version.ts';
import type { Sql } from '../../store/database/connection.ts';
import { findRunSecrets, findRunValues, findStepOutputs } from '../../store/runs/run-values.ts';
import { runKeyContext } from '../run-keys.ts';
import { openOutputs, openParameters } from './values-at-rest.ts';

export interface ShownValuesDeps {
  sql: Sql;
  masterKey: MasterKey;
}

interface RunRef {
  id: number;
  jobId: number;
  jobVersion: number;
}

/** Returns parameters in the order of the form. Those without a value are left out. */
export async function shownParameters(deps: ShownValuesDeps, run: RunRef): Promise<RunParameter[]> {
  const { definition } = await loadJobVersion(deps, run.jobId, run.jobVersion);
  const declared = Object.entries(definition.parameters ?? {}).sort(
    ([, { order: a = Infinity }], [, { order: b = Infinity }]) => (a === b ? 0 : a - b),
  );
  if (declared.length === 0) return [];
  const [row] = await findRunValues(deps.sql, [run.id]);
  if (row === undefined) return [];
  const dataKey = unwrapDataKey(deps.masterKey, row.dataKey, runKeyContext(row.jobId));
  const values = openParameters(dataKey, run.id, row.parameters);
  const secrets = row.secretsId === null ? [] : await findRunSecrets(deps.sql, run.id);
  const secretNames = new Set(secrets.map(({ name }) => name));
  return declared.flatMap(([name, parameter]): RunParameter[] => {
    if (parameter.secret === true) {
      return secretNames.has(name) ? [{ name, secret: true, isDefault: false }] : [];
    }
    if (!Object.hasOwn(values, name)) return [];
    const value = values[name];
    return [{ name, value, secret: false, isDefault: isDeepStrictEqual(value, parameter.default) }];
  });
}

/** Returns what the steps of these target runs have handed on, by step id. */
export async function shownOutputs(
  deps: ShownValuesDeps,
  run: RunRef,
  targetRunIds: readonly number[],
): Promise<Map<number, NonNullable<Step['handedOn']>>> {
  const { definition } = await loadJobVersion(deps, run.jobId, run.jobVersion);
  if (definition.steps.every(({ outputs }) => outputs === undefined)) return new Map();
  const rows = await findStepOutputs(deps.sql, targetRunIds);
  const [key] = rows.length === 0 ? [] : await findRunValues(deps.sql, [run.id]);
  if (key === undefined) return new Map();
  const dataKey = unwrapDataKey(deps.masterKey, key.dataKey, runKeyContext(key.jobId));
  return new Map(
    rows.map((row) => {
      const plain = Object.entries(openOutputs(dataKey, row, row.outputs));
      const handedOn = [
        ...plain.map(([name, value]) => ({ name, value, secret: false })),
        ...Object.keys(row.secrets ?? {}).map((name) => ({ name, secret: true })),
      ];
      return [row.stepId, handedOn.sort((a, b) => (a.name < b.name ? -1 : 1))];
    }),
  );
}
