-- The epoch of a step counts its leases. Since steps are leased ahead of their turn, many come back unbegun, and people
-- were told of a second attempt where there had been one.
ALTER TABLE job_run_steps ADD COLUMN unbegun integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN job_run_steps.unbegun IS 'Number of its leases that came back unbegun, or were closed so. Without them, the epoch is the number of its attempts.';
