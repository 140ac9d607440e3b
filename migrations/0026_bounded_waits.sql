-- Since when a step waits that became ready after its run had been started: no wait for an agent or a lock is without an end.
-- A server of the version before leaves it null, which only lets what it has made ready count from the start of the run.

ALTER TABLE job_run_steps ADD COLUMN waits_since timestamptz;
COMMENT ON COLUMN job_run_steps.waits_since IS 'Of a ready step: since when it may be leased but for locks. Null: since its run was started. A lease that comes back unbegun does not change it.';
