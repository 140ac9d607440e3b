-- What agents and steps may use.

ALTER TABLE agent_sessions ADD COLUMN busy_reason text;
COMMENT ON COLUMN agent_sessions.busy_reason IS 'Why the agent wants nothing new just now, as its last heartbeat said: memory, load. It is given no step meanwhile.';
