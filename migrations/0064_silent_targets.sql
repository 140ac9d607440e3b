-- Targets that do not answer the agent that watches a command there. A row counts only while its step runs in this
-- attempt on this agent; nothing else depends on it. Servers of the version before leave the table alone.
CREATE TABLE silent_targets (
  job_run_step_id bigint PRIMARY KEY REFERENCES job_run_steps ON DELETE CASCADE,
  epoch           integer NOT NULL,
  agent_id        bigint NOT NULL,
  since           timestamptz NOT NULL,
  until           timestamptz
);
COMMENT ON COLUMN silent_targets.until IS 'When the time of the step is up, by its agent.';
