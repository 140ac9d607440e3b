-- A start of a run that is asked for again, since its answer was lost, finds the run that it has made.

ALTER TABLE job_runs
  ADD COLUMN request_key bytea,
  ADD COLUMN request_digest bytea,
  ADD CONSTRAINT job_runs_request CHECK ((request_key IS NULL) = (request_digest IS NULL));
COMMENT ON COLUMN job_runs.request_key IS 'SHA-256 of who asked and the Idempotency-Key that they gave; null without one.';
COMMENT ON COLUMN job_runs.request_digest IS 'HMAC-SHA-256 of what was asked for under the run''s data key: parameters can''t be guessed from it.';
CREATE UNIQUE INDEX job_runs_request_key ON job_runs (request_key) WHERE request_key IS NOT NULL;
