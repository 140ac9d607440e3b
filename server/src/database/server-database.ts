import postgres from 'postgres';
import { adminRole, type ClusterPasswords, databaseName, serverRole } from './cluster-passwords.ts';

/** Creates the server's role and database if they are missing. Returns the version of the running PostgreSQL. */
export async function ensureServerDatabase(port: number, passwords: ClusterPasswords): Promise<string> {
  const sql = postgres({
    host: '127.0.0.1',
    port,
    user: adminRole,
    password: passwords.adminPassword,
    database: 'postgres',
    max: 1,
    onnotice: () => {},
  });
  try {
    const [found] = await sql<{ role: boolean; database: boolean; version: string }[]>`
      SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = ${serverRole}) AS role,
             EXISTS (SELECT FROM pg_database WHERE datname = ${databaseName}) AS database,
             current_setting('server_version') AS version`;
    if (!found?.role) {
      // Not a superuser: SQL that an attacker slips in must not reach the operating system (COPY ... TO PROGRAM).
      // Passwords are hexadecimal, so they need no quoting.
      await sql.unsafe(`CREATE ROLE ${serverRole} LOGIN CREATEDB PASSWORD '${passwords.password}'`);
    }
    if (!found?.database) await sql.unsafe(`CREATE DATABASE ${databaseName} OWNER ${serverRole}`);
    return found?.version ?? '';
  } finally {
    await sql.end({ timeout: 5 });
  }
}

export function serverUrl(port: number, passwords: ClusterPasswords): string {
  return `postgres://${serverRole}:${passwords.password}@127.0.0.1:${port}/${databaseName}`;
}
