-- Keys that agents had before the last change of them: a copy that replaced them more than once could not be told from its agent.
CREATE TABLE former_agent_keys (
  agent_id    bigint NOT NULL REFERENCES agents ON DELETE CASCADE,
  signing_key bytea NOT NULL,
  used_since  timestamptz NOT NULL,
  replaced_at timestamptz NOT NULL,
  PRIMARY KEY (agent_id, signing_key)
);
COMMENT ON TABLE former_agent_keys IS 'keys that an agent has had; they open no connection, and whoever comes with one that is older than agents.previous_signing_key shuts the agent out. Of each agent the 16 that were in use longest: who replaces keys in quick succession drives none out';
INSERT INTO former_agent_keys (agent_id, signing_key, used_since, replaced_at)
SELECT id, previous_signing_key, enrolled_at, coalesce(keys_changed_at, clock_timestamp())
  FROM agents WHERE previous_signing_key IS NOT NULL;
