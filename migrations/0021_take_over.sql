-- Commands that go on without their agent, so that another one of the segment can take them up.

CREATE TABLE detached_attempts (
  job_run_step_id bigint NOT NULL REFERENCES job_run_steps ON DELETE CASCADE,
  epoch           integer NOT NULL CHECK (epoch > 0),
  collector       integer NOT NULL DEFAULT 0 CHECK (collector >= 0),
  orphaned_at     timestamptz,
  PRIMARY KEY (job_run_step_id, epoch)
);
COMMENT ON TABLE detached_attempts IS 'Attempts whose command goes on without its agent, as their agents said when they began.';
COMMENT ON COLUMN detached_attempts.collector IS 'How often it was taken up by another agent. On the target the one with the higher number collects.';
COMMENT ON COLUMN detached_attempts.orphaned_at IS 'Since when it waits for an agent to take it up; null while one has it.';
CREATE INDEX detached_attempts_orphaned ON detached_attempts (orphaned_at) WHERE orphaned_at IS NOT NULL;
