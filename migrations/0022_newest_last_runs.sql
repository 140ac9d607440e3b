-- Jobs by their last run are read from its end: who sees one category of many had all of its jobs looked up and sorted.

CREATE INDEX job_last_runs_newest ON job_last_runs (run_id);
COMMENT ON INDEX job_last_runs_newest IS 'A start of a run enters one here; the changes of its status, which are more, stay within their page as before.';
