-- Lists of runs by what few of them have: they went through all there ever were, or back to the last that fits. By who
-- started them they go by an index of 0054.
CREATE INDEX job_runs_status ON job_runs (status, id);
CREATE INDEX job_runs_created_at ON job_runs (created_at, id);
COMMENT ON INDEX job_runs_status IS 'For lists by status: each status is read by itself, from its newest run on.';
