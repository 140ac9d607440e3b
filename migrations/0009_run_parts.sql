-- What of a run somebody sees who may not see all of it, read without its steps.
CREATE INDEX job_run_steps_incomplete_output ON job_run_steps (job_run_id)
  WHERE output_state IN ('gapped', 'truncated');
COMMENT ON INDEX job_run_steps_incomplete_output IS 'Few rows: for the output state of a part of a run, whose succeeded target runs are else read without their steps.';
