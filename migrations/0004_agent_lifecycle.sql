-- What becomes of agents: drained, disabled, revoked; why one was cut off; and a segment key that must be replaced.
-- Expands only: a server of the version before runs on it.

ALTER TABLE agents
  ADD COLUMN state_changed_at   timestamptz,
  ADD COLUMN last_close_at      timestamptz,
  ADD COLUMN last_close_since   timestamptz,
  ADD COLUMN last_close_code    integer,
  ADD COLUMN last_close_reason  text,
  ADD COLUMN last_close_address text,
  ADD CONSTRAINT agents_labels_object CHECK (jsonb_typeof(labels) = 'object'),
  ADD CONSTRAINT agents_last_close CHECK (num_nulls(last_close_at, last_close_since, last_close_code, last_close_reason) IN (0, 4));
COMMENT ON COLUMN agents.labels IS 'Name to text value. A label without a value has the empty text.';
COMMENT ON COLUMN agents.drain_requested_at IS 'Since when somebody wants it to take nothing new; null: it takes steps.';
COMMENT ON COLUMN agents.state_changed_at IS 'When it was last disabled, enabled, quarantined or revoked; null: never, or by a version that did not note it.';
COMMENT ON COLUMN agents.last_close_at IS 'When its last connection ended or was refused; of equal ends in a row noted once a minute at most.';
COMMENT ON COLUMN agents.last_close_since IS 'When the first of equal ends in a row was.';
COMMENT ON COLUMN agents.last_close_code IS 'WebSocket close code (docs/protocol.md); 1006 where the connection was lost.';

-- A revoked agent is kept for what it did; its machine may enroll again under its name.
ALTER TABLE agents DROP CONSTRAINT agents_name_key;
CREATE UNIQUE INDEX agents_name_key ON agents (name) WHERE state <> 'revoked';

-- What agents say of themselves is one line of visible text from now on.
UPDATE agents SET
  version = regexp_replace(version, '[\u0001-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]', '', 'g'),
  platform = regexp_replace(platform, '[\u0001-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]', '', 'g'),
  hostname = regexp_replace(hostname, '[\u0001-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]', '', 'g');

ALTER TABLE segments ADD COLUMN key_rotation_wanted_at timestamptz;
COMMENT ON COLUMN segments.key_rotation_wanted_at IS 'Since when a new generation of its key is wanted, because an agent that has the current one was revoked; null once an agent made it.';

CREATE INDEX credential_versions_generation ON credential_versions (generation, credential_id);
