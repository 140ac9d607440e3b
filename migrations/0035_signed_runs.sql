-- Runs that are signed: agents whose owners ask for it refuse others, and whatever differs from what was signed.
ALTER TABLE job_runs ADD COLUMN signed_grant bytea;
COMMENT ON COLUMN job_runs.signed_grant IS 'What the run was started with as its signed grant (JSON: terms, and a statement with signature for each target), under the data key of the run. Null for a run that is not signed.';
