-- A grant starts one run: agents refuse a second one, and so does the start.
ALTER TABLE job_runs ADD COLUMN grant_nonce bytea;
COMMENT ON COLUMN job_runs.grant_nonce IS 'The nonce of the grant that a signed run was started with: no other run is started with that grant. Null for a run that is not signed, and for one from before there was this column.';
CREATE UNIQUE INDEX job_runs_grant_nonce ON job_runs (grant_nonce) WHERE grant_nonce IS NOT NULL;
