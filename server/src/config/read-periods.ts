// Reads how long sessions and API tokens last, and how long output, runs and files are kept.
import { limits } from '@opsconductor/protocol';
import type { IdentitySettings } from '../auth/identity-deps.ts';
import type { Config } from '../config.ts';
import type { Flags } from './flags.ts';
import type { SettingReader } from './setting-reader.ts';

/** Returns how long sessions and API tokens last. */
export function readIdentity(flags: Flags, read: SettingReader): IdentitySettings {
  const number = (flag: string, given: string | undefined, max: number) =>
    read.text(
      { flag, variable: `OPSCONDUCTOR_${flag.slice(2).replaceAll('-', '_').toUpperCase()}`, given },
      (text) => (/^[1-9]\d{0,6}$/.test(text) && Number(text) <= max ? Number(text) : undefined),
      `a whole number from 1 to ${max}`,
    );
  const idleMinutes = number('--session-idle-minutes', flags.sessionIdleMinutes, 10_080);
  const maxHours = number('--session-max-hours', flags.sessionMaxHours, 8_760);
  return {
    session: {
      idleMs: idleMinutes === undefined ? limits.sessionIdleMs : idleMinutes * 60_000,
      absoluteMs: maxHours === undefined ? limits.sessionAbsoluteMs : maxHours * 3_600_000,
    },
    apiTokenMaxDays: number('--api-token-max-days', flags.apiTokenMaxDays, 3_650) ?? limits.apiTokenMaxDays,
  };
}

/** Returns for how many days output, runs and files are kept; undefined for what is kept for ever. */
export function readRetention(flags: Flags, read: SettingReader): Config['retention'] {
  const days = (flag: string, variable: string, given: string | undefined) =>
    read.text(
      { flag, variable, given },
      (text) => (/^[1-9]\d{0,4}$/.test(text) && Number(text) <= 36_500 ? Number(text) : undefined),
      'a whole number of days from 1 to 36500; without it, nothing is removed',
    );
  const retention = {
    outputDays: days(
      '--output-retention-days',
      'OPSCONDUCTOR_OUTPUT_RETENTION_DAYS',
      flags.outputRetentionDays,
    ),
    runDays: days('--run-retention-days', 'OPSCONDUCTOR_RUN_RETENTION_DAYS', flags.runRetentionDays),
    fileDays: days('--file-retention-days', 'OPSCONDUCTOR_FILE_RETENTION_DAYS', flags.fileRetentionDays),
  };
  const { outputDays, runDays } = retention;
  if (runDays !== undefined && outputDays !== undefined && runDays < outputDays) {
    read.problems.push(
      `--run-retention-days: found ${runDays}; allowed: ${outputDays} or more, because output is kept that long and is removed with its run`,
    );
  }
  return retention;
}
