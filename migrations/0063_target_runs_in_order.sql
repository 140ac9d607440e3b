-- The target runs of a run, a page at a time. In a database of many runs, the first page of a large run was looked for
-- along the primary key, from the first target run that there ever was.
CREATE INDEX job_run_targets_run ON job_run_targets (job_run_id, id);
