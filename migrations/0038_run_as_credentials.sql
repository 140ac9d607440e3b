-- A step's command may run as another user of its host than who logs in: by a credential that the step names beside the one
-- that opens the target.
ALTER TABLE job_versions ADD COLUMN run_as_credentials text[];
COMMENT ON COLUMN job_versions.run_as_credentials IS 'Name of the credential that each step''s command runs as, by step number, null where it runs as who logs in; all of it null where no step has one. Where there are any, step_credentials is not null.';
