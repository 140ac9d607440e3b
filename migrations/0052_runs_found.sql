-- Lists of runs by what few of them have: they went through all there ever were, or back to the last that fits. By who
-- started them they go by an index of 0054.

-- All that 0054 needs, before the first index: a step that ends on a server of the version before has its target run locked
-- when it comes to its attempt. To ask for target runs behind seconds of indexes was a deadlock, each time anew. Runs before
-- target runs before targets: so do ends and what reads them; a start has its targets first, and waits for so long only.
LOCK TABLE job_runs IN EXCLUSIVE MODE;
LOCK TABLE job_run_targets, targets, ssh_execution_context IN ACCESS EXCLUSIVE MODE;
LOCK TABLE job_run_step_attempts, job_versions IN EXCLUSIVE MODE;

CREATE INDEX job_runs_status ON job_runs (status, id);
CREATE INDEX job_runs_created_at ON job_runs (created_at, id);
COMMENT ON INDEX job_runs_status IS 'For lists by status: each status is read by itself, from its newest run on.';
