-- What a year of runs made slow: what an agent that comes back is asked for, and deleting targets and users.

-- ------------------------------------------------------------------ agents that come back

-- What was given up and nothing was heard of: the only attempts that are decided when their agent comes back without them.
CREATE INDEX job_run_step_attempts_unheard ON job_run_step_attempts (agent_id)
  WHERE status = 'unknown' AND late_status IS NULL AND request_id IS NULL AND output_state = 'gapped' AND output_seq = 0;

-- ------------------------------------------------------------------ users that are named nowhere

-- Whether a user is named is looked up in each table with a reference to users, and when they are deleted once more.
CREATE INDEX job_runs_created_by ON job_runs (created_by, id);
CREATE INDEX job_runs_cancel_requested_by ON job_runs (cancel_requested_by) WHERE cancel_requested_by IS NOT NULL;
CREATE INDEX job_run_step_attempts_decided_by ON job_run_step_attempts (decided_by) WHERE decided_by IS NOT NULL;
CREATE INDEX job_versions_created_by ON job_versions (created_by);
