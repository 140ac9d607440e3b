// What applies to a target, setting by setting: the value, where it comes from, and what it overrides.
import {
  builtInPort,
  defaultConnectTimeoutS,
  defaultKeepaliveIntervalS,
  defaultMaxConnections,
  defaultSshAlgorithms,
  defaultWinrm,
  type EffectiveSetting,
  type EffectiveSettings,
  type InheritedSettings,
  type JobConnection,
  type SettingName,
  settingNames,
} from '@opsconductor/protocol';
import type { Authority } from '../auth/authority.ts';
import type { MasterKey } from '../credentials/at-rest/master-key.ts';
import { invalidField, notFound } from '../errors.ts';
import { loadJobVersion } from '../jobs/versions/load-job-version.ts';
import type { Queryable } from '../store/database/connection.ts';
import { findRunnableJob } from '../store/runs/run-creation.ts';
import {
  findCredentialByName,
  type SettingsPlace,
  settingsPlaces,
} from '../store/targets/effective-settings.ts';
import { findTarget, type TargetRow } from '../store/targets/targets.ts';
import { connectionOf } from './connection-of.ts';
import { jumpsTo, wayOf } from './jump-hosts.ts';

type Value = EffectiveSetting['value'];
type Source = EffectiveSetting['source'];
interface Given {
  value: Value;
  display: string;
  source: Source;
}

/**
 * Returns the effective settings of a target, by itself or for a step of a job.
 * @throws {AppError} `not_found` for a target or job that the caller may not read; `invalid` for a step that the job
 * does not have.
 */
export async function effectiveSettings(
  deps: { sql: Queryable; masterKey: MasterKey },
  targetId: number,
  query: { job?: number; step?: number },
  authority: Authority,
): Promise<EffectiveSettings> {
  const { sql } = deps;
  const target = await findTarget(sql, targetId, authority.reach('read'));
  if (target === undefined) throw notFound('Target');
  if (query.step !== undefined && query.job === undefined) {
    throw invalidField('query.step', 'A step belongs to a job: name the job too.');
  }
  const asked = query.job === undefined ? [] : await askedBy(deps, query.job, query.step ?? 1, authority);
  const places = await settingsPlaces(sql, targetId);
  const settings: EffectiveSetting[] = [];
  for (const name of settingNames) {
    const isWinrm = settings[0]?.value === 'winrm';
    if (isWinrm ? ofSsh.has(name) : name.startsWith('winrm_')) continue;
    if (name === 'credential') settings.push(await credentialSetting(sql, target, asked, places));
    else if (name === 'jump_hosts') settings.push(await jumpHostsSetting(sql, target, places));
    else settings.push(plainSetting(name, asked, places, settings));
  }
  return {
    targetId,
    jobId: query.job ?? null,
    stepNumber: query.job === undefined ? null : (query.step ?? 1),
    settings,
  };
}

const ofSsh: ReadonlySet<SettingName> = new Set(['jump_hosts', 'ssh_algorithms', 'max_connections']);

interface Asked {
  source: Source;
  connection: JobConnection;
}

async function askedBy(
  deps: { sql: Queryable; masterKey: MasterKey },
  jobId: number,
  stepNumber: number,
  authority: Authority,
): Promise<Asked[]> {
  const job = await findRunnableJob(deps.sql, jobId);
  if (job === undefined || !authority.holdsOnCategory('read', job.categoryId)) throw notFound(`Job ${jobId}`);
  const { definition } = await loadJobVersion(deps, jobId, job.version);
  const step = definition.steps[stepNumber - 1];
  if (step === undefined) {
    const allowed = `1 to ${definition.steps.length}`;
    throw invalidField('query.step', `Job “${job.name}” has no step ${stepNumber}.`, { allowed });
  }
  return [
    { source: { kind: 'step', id: stepNumber, name: step.name }, connection: step.connection ?? {} },
    { source: { kind: 'job', id: jobId, name: job.name }, connection: definition.connection ?? {} },
  ];
}

const units: Partial<Record<SettingName, string>> = { connect_timeout: ' s', keepalive_interval: ' s' };

type PlainName = Exclude<SettingName, 'credential' | 'jump_hosts'>;

function plainSetting(
  name: PlainName,
  asked: readonly Asked[],
  places: readonly SettingsPlace[],
  before: readonly EffectiveSetting[],
): EffectiveSetting {
  const given: Given[] = [
    ...asked.map(({ source, connection }) => ({ source, settings: connection as Record<string, unknown> })),
    ...places.map((place) => ({
      source: sourceOf(place),
      settings: place.settings as Record<string, unknown>,
    })),
  ].flatMap(({ source, settings }) => {
    const value = settings[name] as Value | undefined;
    if (value === undefined) return [];
    const display = name === 'winrm_ca' ? 'custom certificates' : `${value}${units[name] ?? ''}`;
    return [{ value, display, source }];
  });
  return settingOf(name, [...given, builtIn(name, before)], null);
}

const builtInSource: Source = { kind: 'default', id: null, name: 'built in' };

function builtIn(name: PlainName, before: readonly EffectiveSetting[]): Given {
  const source = builtInSource;
  const shown = (value: Value, display = `${value}`) => ({ value, display, source });
  switch (name) {
    case 'protocol':
      return shown('ssh');
    case 'port':
      return shown(builtInPort(Object.fromEntries(before.map(({ name: of, value }) => [of, value]))));
    case 'username':
      return shown(null, 'from the credential');
    case 'connect_timeout':
      return shown(defaultConnectTimeoutS, `${defaultConnectTimeoutS} s`);
    case 'keepalive_interval':
      return shown(defaultKeepaliveIntervalS, `${defaultKeepaliveIntervalS} s`);
    case 'ssh_algorithms':
      return shown(defaultSshAlgorithms);
    case 'max_connections':
      return shown(defaultMaxConnections);
    case 'winrm_transport':
      return shown(defaultWinrm.transport);
    case 'winrm_authentication':
      return shown(defaultWinrm.authentication);
    case 'winrm_principal':
      return shown(null, 'by the host’s name');
    case 'winrm_certificate_check':
      return shown(defaultWinrm.certificateCheck);
    case 'winrm_ca':
      return shown(null, 'the public authorities');
  }
}

async function jumpHostsSetting(
  sql: Queryable,
  target: TargetRow,
  places: readonly SettingsPlace[],
): Promise<EffectiveSetting> {
  const given: Given[] = places.flatMap((place) => {
    const { jump_hosts: names }: InheritedSettings = place.settings;
    if (names === undefined) return [];
    const way = wayOf(target.name, names);
    return [{ value: way.join(', '), display: way.join(', then ') || 'none', source: sourceOf(place) }];
  });
  const none: Given = { value: null, display: 'none', source: builtInSource };
  const way = connectionOf(target.mergedSettings, target.port).jumpHosts;
  const jumps = await jumpsTo(sql, target, way);
  return settingOf('jump_hosts', [...given, none], typeof jumps === 'string' ? jumps : null);
}

async function credentialSetting(
  sql: Queryable,
  target: TargetRow,
  asked: readonly Asked[],
  places: readonly SettingsPlace[],
): Promise<EffectiveSetting> {
  const given: Given[] = [];
  for (const { source, connection } of asked) {
    const { credential: name } = connection;
    if (name === undefined) continue;
    const id = await findCredentialByName(sql, target.segmentId, name);
    given.push({ value: id ?? null, display: name, source });
  }
  for (const place of places) {
    if (place.credentialId === null) continue;
    given.push({ value: place.credentialId, display: place.credentialName ?? '', source: sourceOf(place) });
  }
  const none: Given = {
    value: null,
    display: 'none',
    source: builtInSource,
  };
  const [first = none] = given;
  const problem =
    first === none
      ? 'No credential is given: choose one for the target, a group of it or its segment.'
      : first.value === null
        ? `Segment “${target.segmentName}” has no credential named “${first.display}”.`
        : null;
  return settingOf('credential', given.length === 0 ? [none] : given, problem);
}

function settingOf(name: SettingName, given: readonly Given[], problem: string | null): EffectiveSetting {
  const [first, ...overridden] = given as [Given, ...Given[]];
  return { name, ...first, overridden, problem };
}

function sourceOf({ kind, id, name }: SettingsPlace): Source {
  return { kind, id, name };
}
