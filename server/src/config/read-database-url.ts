// Reads the database's URL, with the files that its TLS parameters name.
import { tlsProblem } from '../store/database/driver/database-tls.ts';
import type { SettingReader } from './setting-reader.ts';
import { databaseUrlOf } from './setting-values.ts';

/**
 * Returns the database’s URL; undefined for the embedded one. Like all that read settings here, it adds what is wrong
 * to `read.problems`.
 */
export function readDatabaseUrl(read: SettingReader): string | undefined {
  const url = read.secret(
    'DATABASE_URL',
    databaseUrlOf,
    'a URL of one host: postgres://user:password@host:5432/database, with characters like @ : / ? # % in the password written as %40 and so on',
  );
  const problem = url === undefined ? undefined : tlsProblem(url);
  if (problem !== undefined) read.problems.push(`DATABASE_URL: ${problem}`);
  return url;
}
