-- Lists of runs by version without a job, and what waits in a segment where nothing of its run is going on: they went through
-- all runs there ever were, and all steps of the run.

-- As in 0052: a step that ends on a server of the version before has its run locked when it comes to its step.
LOCK TABLE job_runs IN EXCLUSIVE MODE;
LOCK TABLE job_run_steps IN EXCLUSIVE MODE;

CREATE INDEX job_runs_version ON job_runs (job_version, id);
CREATE INDEX job_runs_version_ref ON job_runs (version_ref, id) WHERE version_ref IS NOT NULL;

CREATE INDEX job_run_steps_given_up ON job_run_steps (job_run_id) WHERE reason = 'start_within_expired';
COMMENT ON INDEX job_run_steps_given_up IS 'Few rows: the steps whose wait for an agent or a lock was given up.';
