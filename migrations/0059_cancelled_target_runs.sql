-- A person cancels one target run, and the rest of the run goes on.
ALTER TABLE job_run_targets
  ADD COLUMN cancel_requested_at timestamptz,
  ADD COLUMN cancel_requested_by bigint REFERENCES users ON DELETE SET NULL;
COMMENT ON COLUMN job_run_targets.cancel_requested_at IS 'When this target run was cancelled by itself. NULL if its whole run was.';

-- Few rows have either, and neither column changes again, so that other updates of target runs stay as cheap as they are.
CREATE INDEX job_run_targets_cancelled ON job_run_targets (job_run_id) WHERE cancel_requested_at IS NOT NULL;
CREATE INDEX job_run_targets_cancel_requested_by ON job_run_targets (cancel_requested_by) WHERE cancel_requested_by IS NOT NULL;
