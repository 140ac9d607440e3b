-- Who connects with the keys that an agent had before is known for that: the agent itself whose answer was lost, or a copy.
ALTER TABLE agents
  ADD COLUMN previous_signing_key bytea,
  ADD COLUMN old_key_refused_at   timestamptz;
COMMENT ON COLUMN agents.previous_signing_key IS 'the one before signing_key; opens no connection. Null while it has the key that it was enrolled with';
COMMENT ON COLUMN agents.old_key_refused_at IS 'when the audit log last said that somebody tried previous_signing_key: it says so at most once a minute';
