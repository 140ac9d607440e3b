-- A host of an earlier batch can still change: a late result reopens it if it had become unknown. Its failures are those of
-- the batch that it began in. Servers of the version before leave the column alone: they count such a host as before.
ALTER TABLE job_runs ADD COLUMN batch_began_at timestamptz;
COMMENT ON COLUMN job_runs.batch_began_at IS 'When the open batch began, if it is not the first: target runs that started until then belong to batches before it.';
COMMENT ON COLUMN job_runs.batch_failures IS 'Failures among the target runs of the batches before this one.';
