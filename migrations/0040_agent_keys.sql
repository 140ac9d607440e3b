-- An agent's own keys are replaced without a new enrollment.
ALTER TABLE agents
  ADD COLUMN keys_changed_at    timestamptz,
  ADD COLUMN new_keys_wanted_at timestamptz;
COMMENT ON COLUMN agents.keys_changed_at IS 'when its keys took the place of those before; null for those that it was enrolled with';
COMMENT ON COLUMN agents.new_keys_wanted_at IS 'since when somebody wants it to make new keys; null once it has';

CREATE TABLE agent_key_changes (
  agent_id       bigint PRIMARY KEY REFERENCES agents ON DELETE CASCADE,
  signing_key    bytea NOT NULL UNIQUE,
  encryption_key bytea NOT NULL,
  signature      text NOT NULL,
  wraps          jsonb NOT NULL,
  offered_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE agent_key_changes IS 'keys that an agent has made and that wait for a roster of its segment''s owner that names them';
COMMENT ON COLUMN agent_key_changes.signature IS 'by the key that the agent still has, over the key change statement (docs/protocol.md)';
COMMENT ON COLUMN agent_key_changes.wraps IS 'the segment keys that it has, each wrapped for its new key: [{generation, wrapped}]';
