-- Which master keys the servers hold, so that none is made the active one that a server lacks.

CREATE TABLE server_master_keys (
  server_id uuid PRIMARY KEY,
  host      text NOT NULL,
  active_id text NOT NULL,
  key_ids   text[] NOT NULL,
  seen_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE server_master_keys IS 'Of each running server, told every few seconds. Ids only: no key is ever in the database.';
COMMENT ON COLUMN server_master_keys.active_id IS 'The key that the server wraps with; it follows installation.master_key_id within seconds.';
