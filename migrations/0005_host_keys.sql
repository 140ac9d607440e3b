-- Host keys in bulk: scans of targets through agents, host certificate authorities and revoked keys of a segment, and
-- whether targets can be reached. Expands only: a server of the version before runs on it.

CREATE TABLE host_scans (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind         text NOT NULL CHECK (kind IN ('keys', 'reach')),
  selection    jsonb NOT NULL,
  created_by   bigint REFERENCES users ON DELETE SET NULL,
  created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  completed_at timestamptz,
  cancelled_at timestamptz
);
CREATE INDEX host_scans_open ON host_scans (id) WHERE completed_at IS NULL;
COMMENT ON TABLE host_scans IS 'Targets that agents look at without logging in. Idempotent: what was given out and not told of is given out again.';
COMMENT ON COLUMN host_scans.kind IS 'keys: which host keys they have; reach: whether an SSH server answers.';

CREATE TABLE host_scan_items (
  scan_id             bigint NOT NULL REFERENCES host_scans ON DELETE CASCADE,
  target_id           bigint NOT NULL REFERENCES targets ON DELETE CASCADE,
  segment_id          bigint NOT NULL,
  state               text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'given', 'done', 'failed', 'cancelled')),
  tries               integer NOT NULL DEFAULT 0,
  agent_id            bigint,
  session_number      bigint,
  given_at            timestamptz,
  finished_at         timestamptz,
  host                text,
  port                integer,
  reason              text,
  message             text,
  advice              text,
  server_version      text,
  latency_ms          double precision,
  certified_by        text,
  certificate_key_id  text,
  certificate_problem text,
  PRIMARY KEY (scan_id, target_id)
) WITH (fillfactor = 70);
CREATE INDEX host_scan_items_waiting ON host_scan_items (segment_id, scan_id, target_id) WHERE state = 'waiting';
CREATE INDEX host_scan_items_given ON host_scan_items (agent_id) WHERE state = 'given';
CREATE INDEX host_scan_items_target ON host_scan_items (target_id);
COMMENT ON COLUMN host_scan_items.state IS 'given: to an agent, with nothing told yet.';
COMMENT ON COLUMN host_scan_items.host IS 'Where it was looked for, with port: a target that has moved since is not what was scanned.';
COMMENT ON COLUMN host_scan_items.certified_by IS 'Fingerprint of the host authority whose certificate it showed.';

CREATE TABLE host_scan_keys (
  scan_id     bigint NOT NULL,
  target_id   bigint NOT NULL,
  fingerprint text NOT NULL,
  key_type    text NOT NULL,
  public_key  text NOT NULL,
  PRIMARY KEY (scan_id, target_id, fingerprint),
  FOREIGN KEY (scan_id, target_id) REFERENCES host_scan_items ON DELETE CASCADE
);
CREATE INDEX host_scan_keys_fingerprint ON host_scan_keys (scan_id, fingerprint);
COMMENT ON TABLE host_scan_keys IS 'Keys that targets have proven to hold, accepted or not.';

CREATE TABLE segment_host_trust (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  segment_id  bigint NOT NULL REFERENCES segments ON DELETE CASCADE,
  kind        text NOT NULL CHECK (kind IN ('authority', 'revoked')),
  hosts       text NOT NULL DEFAULT '*',
  key_type    text NOT NULL,
  fingerprint text NOT NULL,
  public_key  text NOT NULL,
  note        text NOT NULL DEFAULT '',
  created_by  bigint REFERENCES users ON DELETE SET NULL,
  created_at  timestamptz NOT NULL DEFAULT now(),
  UNIQUE (segment_id, kind, fingerprint, hosts)
);
COMMENT ON TABLE segment_host_trust IS 'authority: signs host certificates that are accepted in the segment; revoked: a host key or authority that is refused there.';
COMMENT ON COLUMN segment_host_trust.hosts IS 'Hosts that an authority may speak for, as an OpenSSH pattern list; * for a revoked key.';

ALTER TABLE target_host_keys
  ADD COLUMN source text NOT NULL DEFAULT 'connection' CHECK (source IN ('connection', 'scan', 'known_hosts'));
COMMENT ON COLUMN target_host_keys.source IS 'Where the key came from; given fingerprints count as connection.';

ALTER TABLE targets
  ADD COLUMN last_probe_at timestamptz,
  ADD COLUMN last_probe_ok boolean,
  ADD COLUMN last_probe_reason text,
  ADD COLUMN last_probe_ms double precision;
COMMENT ON COLUMN targets.last_probe_ok IS 'Whether an SSH server answered a scan, without a login; last_contact says whether the last login went well.';

ALTER TABLE agent_sessions ADD COLUMN can_scan boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN agent_sessions.can_scan IS 'Whether the agent knows the messages of a scan.';
