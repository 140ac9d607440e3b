// The settings of every start. The file is rewritten each time; an operator's own lines go to tuning.conf next to it,
// which wins.

/** Settings that apply whatever tuning.conf says, because they are given on the command line. */
export function fixedSettings(port: number, clusterName: string): Record<string, string> {
  return {
    port: String(port),
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    cluster_name: clusterName,
    // A failed statement's text can contain what a user typed; the server logs its own errors without it.
    log_min_error_statement: 'panic',
  };
}

const defaults: Record<string, string> = {
  max_connections: '100',
  shared_buffers: '128MB',
  max_locks_per_transaction: '128',
  // Each output chunk of up to 256 KiB is a row: with a small WAL, streamed output would cause one checkpoint after
  // another.
  wal_buffers: '16MB',
  max_wal_size: '2GB',
  min_wal_size: '256MB',
  checkpoint_timeout: '15min',
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  // An open transaction holds back vacuum, and then the queue's claims have to read through dead rows.
  idle_in_transaction_session_timeout: '60s',
  autovacuum_naptime: '15s',
  // Our statements are short: planning for parallel workers or JIT costs more than it gains, and a container's /dev/shm
  // of 64 MB is too small for parallel workers.
  max_parallel_workers_per_gather: '0',
  jit: 'off',
  max_logical_replication_workers: '0',
  timezone: 'UTC',
  log_timezone: 'UTC',
  lc_messages: 'C',
  log_checkpoints: 'off',
  log_line_prefix: '%m [%p] ',
};

export function settingsFile(overrides: Record<string, string> = {}): string {
  const lines = Object.entries({ ...defaults, ...overrides }).map(
    ([name, value]) => `${name} = '${value.replaceAll("'", "''")}'`,
  );
  return [
    '# Written by OpsConductor at every start. Put your own settings into tuning.conf in this folder.',
    ...lines,
    "include = 'tuning.conf'",
    '',
  ].join('\n');
}

export const tuningTemplate =
  "# Your own PostgreSQL settings, one a line (work_mem = '16MB'). They win over postgresql.conf in this folder.\n";
