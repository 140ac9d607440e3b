-- What a year of runs made slow: what an agent that comes back is asked for, and deleting targets and users.

-- ------------------------------------------------------------------ agents that come back

-- What was given up and nothing was heard of: the only attempts that are decided when their agent comes back without them.
CREATE INDEX job_run_step_attempts_unheard ON job_run_step_attempts (agent_id)
  WHERE status = 'unknown' AND late_status IS NULL AND request_id IS NULL AND output_state = 'gapped' AND output_seq = 0;
