-- Target runs of a run, a page at a time, and runs on a target. In a database of many runs, the first page of a large run
-- was looked for along the primary key, from the first target run that there ever was; and who may see the targets of a
-- group had each target run there looked at, only to learn of which run it is.

-- As in 0052: a step that ends on a server of the version before has its run locked when it comes to its target run.
LOCK TABLE job_runs IN EXCLUSIVE MODE;
LOCK TABLE job_run_targets IN ACCESS EXCLUSIVE MODE;

CREATE INDEX job_run_targets_run ON job_run_targets (job_run_id, id);

CREATE INDEX job_run_targets_on_target ON job_run_targets (target_id, job_run_id);
DROP INDEX job_run_targets_target;
