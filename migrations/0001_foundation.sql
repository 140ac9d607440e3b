-- The tables of the pull loop: people, places, jobs, runs, leases, output. PostgreSQL 15 and newer.
-- Forward only; runs in one transaction under an advisory lock (server/src/store/migrate.ts).

CREATE TABLE installation (
  singleton          boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  id                 uuid NOT NULL,
  timeline           integer NOT NULL DEFAULT 1,
  min_server_version integer NOT NULL DEFAULT 1,
  master_key_id      text NOT NULL,
  server_key         bytea NOT NULL,
  server_key_sealed  bytea NOT NULL,
  bootstrapped_at    timestamptz,
  created_at         timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE installation IS 'One row: who this installation is. Agents pin server_key.';
COMMENT ON COLUMN installation.timeline IS 'Raised by a restore, so that leases of a lost future are refused.';
COMMENT ON COLUMN installation.min_server_version IS 'A server whose schema version is lower refuses to start.';
COMMENT ON COLUMN installation.master_key_id IS 'Id of the master key that wraps data keys; the key itself is never here.';
COMMENT ON COLUMN installation.server_key_sealed IS 'Ed25519 private key of the server identity, sealed under the master key.';

CREATE TABLE cluster_clock (
  singleton  boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  touched_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE cluster_clock IS 'Touched each second by any server. When it is old the database was down, and live leases are extended before any sweep.';
INSERT INTO cluster_clock DEFAULT VALUES;

-- ------------------------------------------------------------------ people

CREATE TABLE users (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name          text NOT NULL UNIQUE CHECK (name <> ''),
  password_hash text,
  is_active     boolean NOT NULL DEFAULT true,
  created_at    timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN users.password_hash IS 'scrypt$N$r$p$salt$hash; null: no sign-in by password.';

CREATE TABLE role_grants (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id    bigint NOT NULL REFERENCES users ON DELETE CASCADE,
  role       text NOT NULL CHECK (role IN ('viewer', 'operator', 'author', 'admin', 'auditor')),
  created_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (user_id, role)
);
COMMENT ON TABLE role_grants IS 'Roles of users; every grant is global for now.';

CREATE TABLE sign_in_codes (
  code_hash  bytea PRIMARY KEY,
  user_id    bigint NOT NULL REFERENCES users ON DELETE CASCADE,
  expires_at timestamptz NOT NULL
);
COMMENT ON TABLE sign_in_codes IS 'One-time sign-in codes, hashed; a row is deleted when its code is used.';

CREATE TABLE sessions (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id      bigint NOT NULL REFERENCES users ON DELETE CASCADE,
  token_hash   bytea NOT NULL UNIQUE,
  created_at   timestamptz NOT NULL DEFAULT now(),
  last_seen_at timestamptz NOT NULL DEFAULT now(),
  expires_at   timestamptz NOT NULL,
  address      text NOT NULL
);

CREATE TABLE api_tokens (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id      bigint NOT NULL REFERENCES users ON DELETE CASCADE,
  name         text NOT NULL,
  prefix       text NOT NULL,
  token_hash   bytea NOT NULL UNIQUE,
  created_at   timestamptz NOT NULL DEFAULT now(),
  expires_at   timestamptz,
  last_used_at timestamptz
);

CREATE TABLE audit_log (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at          timestamptz NOT NULL DEFAULT clock_timestamp(),
  actor_kind  text NOT NULL CHECK (actor_kind IN ('user', 'agent', 'system', 'anonymous')),
  actor_id    bigint,
  actor_name  text NOT NULL,
  action      text NOT NULL,
  object_kind text,
  object_id   text,
  detail      jsonb NOT NULL DEFAULT '{}',
  address     text,
  request_id  text
);
CREATE INDEX audit_log_at ON audit_log (at);
COMMENT ON TABLE audit_log IS 'Written in the transaction of the change it tells of.';

-- ------------------------------------------------------------------ places

CREATE TABLE segments (
  id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name               text NOT NULL UNIQUE,
  description        text NOT NULL DEFAULT '',
  unknown_after_s    integer NOT NULL DEFAULT 300 CHECK (unknown_after_s BETWEEN 1 AND 86400),
  root_mode          text NOT NULL DEFAULT 'managed' CHECK (root_mode IN ('managed', 'owner_held')),
  root_key           bytea NOT NULL,
  root_key_sealed    bytea,
  roster_number      integer NOT NULL DEFAULT 0,
  roster_payload     text,
  roster_signature   text,
  key_generation     integer NOT NULL DEFAULT 0,
  created_at         timestamptz NOT NULL DEFAULT now(),
  CHECK (root_mode = 'owner_held' OR root_key_sealed IS NOT NULL)
);
COMMENT ON COLUMN segments.root_key IS 'Ed25519 public key that signs the roster; agents pin it.';
COMMENT ON COLUMN segments.root_key_sealed IS 'Private half under the master key, for managed roots.';
COMMENT ON COLUMN segments.key_generation IS 'Current generation of the segment key; 0 before the first agent.';

CREATE TABLE segment_keys (
  segment_id bigint NOT NULL REFERENCES segments ON DELETE CASCADE,
  generation integer NOT NULL CHECK (generation > 0),
  public_key bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (segment_id, generation)
);
COMMENT ON TABLE segment_keys IS 'X25519 public halves. The private halves exist on agents only.';

CREATE TABLE agents (
  id                    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  segment_id            bigint NOT NULL REFERENCES segments,
  name                  text NOT NULL UNIQUE,
  signing_key           bytea NOT NULL UNIQUE,
  encryption_key        bytea NOT NULL,
  state                 text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled', 'quarantined', 'revoked')),
  session_number        bigint NOT NULL DEFAULT 0,
  generation            bigint NOT NULL DEFAULT 0,
  generation_acked      boolean NOT NULL DEFAULT true,
  version               text NOT NULL,
  platform              text NOT NULL,
  hostname              text,
  address               text,
  enrolled_at           timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX agents_segment ON agents (segment_id);
COMMENT ON COLUMN agents.session_number IS 'Raised by each authentication; every write of an agent must carry the current one.';
COMMENT ON COLUMN agents.generation IS 'Newest connect generation issued; an agent that presents one older than the last acknowledged is a clone.';

CREATE TABLE segment_key_wraps (
  segment_id bigint NOT NULL,
  generation integer NOT NULL,
  agent_id   bigint NOT NULL REFERENCES agents ON DELETE CASCADE,
  wrapped    text NOT NULL,
  opened_at  timestamptz,
  PRIMARY KEY (agent_id, generation),
  FOREIGN KEY (segment_id, generation) REFERENCES segment_keys ON DELETE CASCADE
);
COMMENT ON COLUMN segment_key_wraps.opened_at IS 'When the agent said that it holds this generation; until then it gets no step that needs it.';

CREATE TABLE agent_sessions (
  agent_id          bigint PRIMARY KEY REFERENCES agents ON DELETE CASCADE,
  session_number    bigint NOT NULL,
  server_id         uuid NOT NULL,
  slots             integer NOT NULL CHECK (slots BETWEEN 1 AND 512),
  draining          boolean NOT NULL DEFAULT false,
  ready             boolean NOT NULL DEFAULT false,
  connected_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  disconnected_at   timestamptz,
  clean_shutdown    boolean NOT NULL DEFAULT false,
  last_heartbeat_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at        timestamptz NOT NULL,
  rss_bytes         bigint,
  spool_bytes       bigint,
  load_average      double precision
) WITH (fillfactor = 50);
COMMENT ON TABLE agent_sessions IS 'The one row that a heartbeat renews; all leases of an agent live and die with it.';
COMMENT ON COLUMN agent_sessions.ready IS 'The handshake is done and the agent''s journal reconciled: it may be given steps.';

CREATE TABLE enrollment_tokens (
  id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  segment_id      bigint NOT NULL REFERENCES segments ON DELETE CASCADE,
  token_hash      bytea NOT NULL UNIQUE,
  created_by      bigint REFERENCES users ON DELETE SET NULL,
  created_at      timestamptz NOT NULL DEFAULT now(),
  expires_at      timestamptz NOT NULL,
  used_at         timestamptz,
  used_by_agent   bigint REFERENCES agents ON DELETE SET NULL
);

CREATE TABLE credentials (
  id           uuid PRIMARY KEY,
  segment_id   bigint NOT NULL REFERENCES segments,
  name         text NOT NULL,
  description  text NOT NULL DEFAULT '',
  kind         text NOT NULL,
  version      integer NOT NULL DEFAULT 1,
  created_by   bigint REFERENCES users ON DELETE SET NULL,
  created_at   timestamptz NOT NULL DEFAULT now(),
  UNIQUE (segment_id, name)
);
CREATE TABLE credential_versions (
  credential_id uuid NOT NULL REFERENCES credentials ON DELETE CASCADE,
  version       integer NOT NULL,
  generation    integer NOT NULL,
  sealed        jsonb NOT NULL,
  created_at    timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (credential_id, version)
);
COMMENT ON COLUMN credential_versions.sealed IS 'HPKE to the segment key. The server can''t open it; bounds are inside.';

CREATE TABLE targets (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  segment_id    bigint NOT NULL REFERENCES segments,
  name          text NOT NULL,
  host          text NOT NULL,
  port          integer NOT NULL DEFAULT 22 CHECK (port BETWEEN 1 AND 65535),
  credential_id uuid REFERENCES credentials,
  created_at    timestamptz NOT NULL DEFAULT now(),
  updated_at    timestamptz NOT NULL DEFAULT now(),
  UNIQUE (segment_id, name)
);
CREATE INDEX targets_credential ON targets (credential_id);

CREATE TABLE target_host_keys (
  target_id   bigint NOT NULL REFERENCES targets ON DELETE CASCADE,
  fingerprint text NOT NULL,
  key_type    text NOT NULL,
  public_key  text,
  state       text NOT NULL CHECK (state IN ('accepted', 'pending', 'changed')),
  seen_at     timestamptz NOT NULL DEFAULT now(),
  accepted_at timestamptz,
  accepted_by bigint REFERENCES users ON DELETE SET NULL,
  PRIMARY KEY (target_id, fingerprint),
  CHECK (state <> 'accepted' OR accepted_at IS NOT NULL)
);
COMMENT ON COLUMN target_host_keys.public_key IS 'OpenSSH line; null while only a fingerprint was given and no connection has shown the key.';

-- ------------------------------------------------------------------ jobs

CREATE TABLE jobs (
  id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name            varchar(100) NOT NULL UNIQUE,
  description     text NOT NULL DEFAULT '',
  version         integer NOT NULL DEFAULT 1,
  step_types      text[] NOT NULL,
  step_count      integer NOT NULL,
  is_active       boolean NOT NULL DEFAULT true,
  data_key        text NOT NULL,
  created_by      bigint REFERENCES users ON DELETE SET NULL,
  created_at      timestamptz NOT NULL DEFAULT now(),
  updated_at      timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN jobs.data_key IS 'Data key of this job''s definitions, wrapped by the master key.';

CREATE TABLE job_versions (
  job_id       bigint NOT NULL REFERENCES jobs ON DELETE CASCADE,
  version      integer NOT NULL,
  definition   bytea NOT NULL,
  checksum     bytea NOT NULL,
  step_names   text[] NOT NULL,
  step_types   text[] NOT NULL,
  created_by   bigint REFERENCES users ON DELETE SET NULL,
  created_at   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (job_id, version)
);
COMMENT ON TABLE job_versions IS 'Immutable. definition is canonical JSON sealed under the job''s data key.';
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '% rows are immutable', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation'; END $$;
CREATE TRIGGER job_versions_immutable BEFORE UPDATE ON job_versions FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- ------------------------------------------------------------------ runs

CREATE TABLE job_runs (
  id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  job_id              bigint NOT NULL REFERENCES jobs,
  job_version         integer NOT NULL,
  status              text NOT NULL DEFAULT 'queued',
  data_key            text NOT NULL,
  max_failures        integer NOT NULL DEFAULT 0,
  targets_total       integer NOT NULL,
  targets_running     integer NOT NULL DEFAULT 0,
  targets_succeeded   integer NOT NULL DEFAULT 0,
  targets_failed      integer NOT NULL DEFAULT 0,
  targets_cancelled   integer NOT NULL DEFAULT 0,
  targets_timed_out   integer NOT NULL DEFAULT 0,
  targets_unknown     integer NOT NULL DEFAULT 0,
  total_steps         integer NOT NULL,
  completed_steps     integer NOT NULL DEFAULT 0,
  failed_steps        integer NOT NULL DEFAULT 0,
  output_state        text NOT NULL DEFAULT 'open' CHECK (output_state IN ('open', 'complete', 'truncated', 'gapped')),
  event_seq           bigint NOT NULL DEFAULT 0,
  start_by            timestamptz NOT NULL,
  created_by          bigint REFERENCES users ON DELETE SET NULL,
  created_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
  started_at          timestamptz,
  completed_at        timestamptz,
  execution_time_ms   bigint,
  error_message       text,
  cancel_requested_at timestamptz,
  cancel_requested_by bigint REFERENCES users ON DELETE SET NULL,
  FOREIGN KEY (job_id, job_version) REFERENCES job_versions (job_id, version),
  CHECK (targets_running >= 0),
  CHECK (targets_succeeded + targets_failed + targets_cancelled + targets_timed_out + targets_unknown <= targets_total),
  CHECK (completed_steps <= total_steps)
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX job_runs_job ON job_runs (job_id, id DESC);
CREATE INDEX job_runs_open ON job_runs (id) WHERE status IN ('queued', 'running', 'cancelling', 'held');
COMMENT ON COLUMN job_runs.data_key IS 'Data key of this run''s output, wrapped by the master key.';
COMMENT ON COLUMN job_runs.event_seq IS 'Number of the newest run event; advanced under this row''s lock.';
COMMENT ON COLUMN job_runs.start_by IS 'A run none of whose steps began by then ends timed_out.';

CREATE TABLE job_run_targets (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  job_run_id    bigint NOT NULL REFERENCES job_runs ON DELETE CASCADE,
  target_id     bigint REFERENCES targets ON DELETE SET NULL,
  segment_id    bigint NOT NULL REFERENCES segments,
  target_name   text NOT NULL,
  status        text NOT NULL DEFAULT 'queued',
  started_at    timestamptz,
  completed_at  timestamptz,
  UNIQUE (job_run_id, target_id)
) WITH (fillfactor = 70);
CREATE INDEX job_run_targets_target ON job_run_targets (target_id);
COMMENT ON TABLE job_run_targets IS 'A target run: one run on one target (console: host).';

CREATE TABLE job_run_steps (
  id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  job_run_id        bigint NOT NULL REFERENCES job_runs ON DELETE CASCADE,
  target_run_id     bigint NOT NULL REFERENCES job_run_targets ON DELETE CASCADE,
  segment_id        bigint NOT NULL,
  step_number       integer NOT NULL CHECK (step_number > 0),
  step_type         varchar(50) NOT NULL,
  time_budget_s     integer NOT NULL CHECK (time_budget_s > 0),
  status            text NOT NULL DEFAULT 'pending',
  epoch             integer NOT NULL DEFAULT 0,
  lease_token       text,
  agent_id          bigint,
  session_number    bigint,
  attempt_day       date,
  leased_at         timestamptz,
  started_at        timestamptz,
  deadline_at       timestamptz,
  cancel_sent_at    timestamptz,
  completed_at      timestamptz,
  execution_time_ms bigint,
  exit_code         bigint,
  signal            text,
  reason            text,
  error_message     text,
  advice            text,
  survivors         jsonb,
  output_state      text NOT NULL DEFAULT 'complete' CHECK (output_state IN ('open', 'complete', 'truncated', 'gapped')),
  output_seq        integer NOT NULL DEFAULT 0,
  output_bytes      bigint NOT NULL DEFAULT 0,
  UNIQUE (target_run_id, step_number),
  CHECK (status <> 'running' OR (agent_id IS NOT NULL AND session_number IS NOT NULL AND lease_token IS NOT NULL AND epoch > 0))
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX job_run_steps_ready ON job_run_steps (segment_id, job_run_id, id) WHERE status = 'ready';
CREATE INDEX job_run_steps_running ON job_run_steps (agent_id) WHERE status = 'running';
CREATE INDEX job_run_steps_run ON job_run_steps (job_run_id, target_run_id, step_number);
COMMENT ON COLUMN job_run_steps.epoch IS 'Fencing number of the current attempt; raised by each lease.';
COMMENT ON COLUMN job_run_steps.lease_token IS 'Random, beside the epoch: a failover or restore can''t issue the same lease twice.';
COMMENT ON COLUMN job_run_steps.attempt_day IS 'Day of the current attempt''s lease: the partition of its output.';
COMMENT ON COLUMN job_run_steps.started_at IS 'When the agent said that it began; a running step is leased, begun or not.';
COMMENT ON COLUMN job_run_steps.time_budget_s IS 'The step''s timeout and kill grace, from its sealed configuration.';
COMMENT ON COLUMN job_run_steps.deadline_at IS 'Timeout, kill grace and lease TTL after the lease: beyond it the attempt is unknown.';

CREATE TABLE job_run_step_attempts (
  job_run_step_id   bigint NOT NULL REFERENCES job_run_steps ON DELETE CASCADE,
  epoch             integer NOT NULL,
  job_run_id        bigint NOT NULL,
  agent_id          bigint NOT NULL,
  lease_token       text NOT NULL,
  attempt_day       date NOT NULL,
  leased_at         timestamptz NOT NULL,
  started_at        timestamptz,
  settled_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
  status            text NOT NULL CHECK (status IN ('succeeded', 'failed', 'timed_out', 'cancelled', 'unknown')),
  exit_code         bigint,
  signal            text,
  reason            text,
  message           text,
  late_status       text,
  late_at           timestamptz,
  output_state      text NOT NULL CHECK (output_state IN ('open', 'complete', 'truncated', 'gapped')),
  output_seq        integer NOT NULL DEFAULT 0,
  output_raw_bytes  bigint NOT NULL DEFAULT 0,
  output_digest     bytea,
  output_gaps       jsonb,
  request_id        text,
  execution_time_ms bigint,
  PRIMARY KEY (job_run_step_id, epoch)
);
COMMENT ON TABLE job_run_step_attempts IS 'Written when an attempt settles; a live attempt is the step row itself.';
COMMENT ON COLUMN job_run_step_attempts.late_status IS 'What the agent reported after the attempt had been settled as unknown.';
COMMENT ON COLUMN job_run_step_attempts.request_id IS 'Of the completion: a resent one gets the same answer.';

CREATE TABLE run_output (
  attempt_day     date NOT NULL,
  job_run_step_id bigint NOT NULL,
  epoch           integer NOT NULL,
  seq             integer NOT NULL,
  stream          smallint NOT NULL CHECK (stream IN (1, 2)),
  elapsed_ms      bigint NOT NULL,
  raw_length      integer NOT NULL CHECK (raw_length > 0),
  sha256          bytea NOT NULL,
  sealed          bytea NOT NULL,
  PRIMARY KEY (attempt_day, job_run_step_id, epoch, seq)
) PARTITION BY RANGE (attempt_day);
ALTER TABLE run_output ALTER COLUMN sealed SET STORAGE EXTERNAL;
COMMENT ON TABLE run_output IS 'Output chunks. Partitioned by the attempt''s day, so that a chunk resent past midnight meets itself.';
COMMENT ON COLUMN run_output.sha256 IS 'Of the gzip bytes as the agent spooled them.';
COMMENT ON COLUMN run_output.sealed IS 'The gzip bytes under the run''s data key; already compressed, so stored plain.';

CREATE FUNCTION make_output_partitions(from_day date, days integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE day date;
BEGIN
  FOR i IN 0 .. days - 1 LOOP
    day := from_day + i;
    IF to_regclass('run_output_' || to_char(day, 'YYYYMMDD')) IS NULL THEN
      EXECUTE format('CREATE TABLE %I PARTITION OF run_output FOR VALUES FROM (%L) TO (%L)',
        'run_output_' || to_char(day, 'YYYYMMDD'), day, day + 1);
    END IF;
  END LOOP;
END $$;
SELECT make_output_partitions((now() AT TIME ZONE 'UTC')::date - 1, 16);

CREATE TABLE run_events (
  job_run_id bigint NOT NULL REFERENCES job_runs ON DELETE CASCADE,
  seq        bigint NOT NULL,
  at         timestamptz NOT NULL DEFAULT clock_timestamp(),
  change     jsonb NOT NULL,
  PRIMARY KEY (job_run_id, seq)
);
COMMENT ON TABLE run_events IS 'What changed in a run, numbered under the run row''s lock, so that a reader who resumes by number misses nothing.';

CREATE TABLE ssh_execution_context (
  id                        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  job_run_id                bigint NOT NULL REFERENCES job_runs ON DELETE CASCADE,
  target_id                 bigint REFERENCES targets ON DELETE SET NULL,
  session_id                varchar(100) NOT NULL,
  agent_id                  bigint NOT NULL,
  connection_established_at timestamptz,
  connection_closed_at      timestamptz,
  commands_executed         integer NOT NULL DEFAULT 0,
  files_transferred         integer NOT NULL DEFAULT 0,
  total_bytes_transferred   bigint NOT NULL DEFAULT 0,
  created_at                timestamptz NOT NULL DEFAULT now(),
  UNIQUE (job_run_id, session_id)
);
COMMENT ON TABLE ssh_execution_context IS 'The SSH connections that carried a run''s steps; a warm connection serves many runs.';

-- ------------------------------------------------------------------ the state machine's edges, held by the database
-- Generated from protocol/src/states.ts; a test compares the two.

CREATE TABLE status_edges (
  kind        text NOT NULL CHECK (kind IN ('step', 'run')),
  from_status text NOT NULL,
  to_status   text NOT NULL,
  PRIMARY KEY (kind, from_status, to_status)
);
INSERT INTO status_edges (kind, from_status, to_status) VALUES
  ('step', 'pending', 'ready'),
  ('step', 'pending', 'running'),
  ('step', 'pending', 'skipped'),
  ('step', 'pending', 'cancelled'),
  ('step', 'pending', 'timed_out'),
  ('step', 'ready', 'running'),
  ('step', 'ready', 'skipped'),
  ('step', 'ready', 'cancelled'),
  ('step', 'ready', 'timed_out'),
  ('step', 'running', 'ready'),
  ('step', 'running', 'held'),
  ('step', 'running', 'succeeded'),
  ('step', 'running', 'failed'),
  ('step', 'running', 'cancelled'),
  ('step', 'running', 'timed_out'),
  ('step', 'running', 'unknown'),
  ('step', 'held', 'ready'),
  ('step', 'held', 'succeeded'),
  ('step', 'held', 'failed'),
  ('step', 'held', 'cancelled'),
  ('step', 'held', 'unknown'),
  ('step', 'unknown', 'succeeded'),
  ('step', 'unknown', 'failed'),
  ('step', 'unknown', 'cancelled'),
  ('step', 'unknown', 'timed_out'),
  ('step', 'unknown', 'ready'),
  ('run', 'queued', 'running'),
  ('run', 'queued', 'cancelling'),
  ('run', 'queued', 'held'),
  ('run', 'queued', 'succeeded'),
  ('run', 'queued', 'failed'),
  ('run', 'queued', 'partial'),
  ('run', 'queued', 'cancelled'),
  ('run', 'queued', 'timed_out'),
  ('run', 'queued', 'unknown'),
  ('run', 'running', 'cancelling'),
  ('run', 'running', 'held'),
  ('run', 'running', 'succeeded'),
  ('run', 'running', 'failed'),
  ('run', 'running', 'partial'),
  ('run', 'running', 'cancelled'),
  ('run', 'running', 'timed_out'),
  ('run', 'running', 'unknown'),
  ('run', 'cancelling', 'succeeded'),
  ('run', 'cancelling', 'failed'),
  ('run', 'cancelling', 'partial'),
  ('run', 'cancelling', 'cancelled'),
  ('run', 'cancelling', 'timed_out'),
  ('run', 'cancelling', 'unknown'),
  ('run', 'held', 'running'),
  ('run', 'held', 'cancelling'),
  ('run', 'held', 'succeeded'),
  ('run', 'held', 'failed'),
  ('run', 'held', 'partial'),
  ('run', 'held', 'cancelled'),
  ('run', 'held', 'timed_out'),
  ('run', 'held', 'unknown')
;

CREATE FUNCTION check_status_edge() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT 1 FROM status_edges e
                 WHERE e.kind = TG_ARGV[0] AND e.from_status = OLD.status AND e.to_status = NEW.status) THEN
    RAISE EXCEPTION '% % may not go from % to %', TG_TABLE_NAME, OLD.id, OLD.status, NEW.status
      USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER job_run_steps_edge BEFORE UPDATE OF status ON job_run_steps FOR EACH ROW
  WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION check_status_edge('step');
CREATE TRIGGER job_run_targets_edge BEFORE UPDATE OF status ON job_run_targets FOR EACH ROW
  WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION check_status_edge('run');
CREATE TRIGGER job_runs_edge BEFORE UPDATE OF status ON job_runs FOR EACH ROW
  WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION check_status_edge('run');
