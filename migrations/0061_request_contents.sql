-- The same request may be repeated with its properties in another order. Servers of the version before compare
-- request_digest, which therefore stays as it is.
ALTER TABLE job_runs ADD COLUMN request_content_digest bytea;
COMMENT ON COLUMN job_runs.request_content_digest IS 'As request_digest, in canonical JSON. Null without a request key, and if a server that did not write it started the run.';
