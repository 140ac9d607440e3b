-- Only for those who ask for the steps of an agent. When no step runs, the statistics say that an index of running steps
-- is empty, and an empty one is the cheapest to read whole. Then each of 500 steps that ended together was looked up by
-- reading all that ran, for a whole run: a third of the usual speed. Without this index, those who ask by target run
-- have the index that finds them.
DROP INDEX job_run_steps_running;
CREATE INDEX job_run_steps_running ON job_run_steps (agent_id) WHERE status = 'running' AND agent_id IS NOT NULL;
