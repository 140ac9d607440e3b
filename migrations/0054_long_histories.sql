-- What a year of runs made slow: what an agent that comes back is asked for, and deleting targets and users.

-- As in 0052, for a database that has that one already.
LOCK TABLE job_runs IN EXCLUSIVE MODE;
LOCK TABLE job_run_targets, targets, ssh_execution_context IN ACCESS EXCLUSIVE MODE;
LOCK TABLE job_run_step_attempts, job_versions IN EXCLUSIVE MODE;

-- ------------------------------------------------------------------ agents that come back

-- What was given up and nothing was heard of: the only attempts that are decided when their agent comes back without them.
CREATE INDEX job_run_step_attempts_unheard ON job_run_step_attempts (agent_id)
  WHERE status = 'unknown' AND late_status IS NULL AND request_id IS NULL AND output_state = 'gapped' AND output_seq = 0;

-- ------------------------------------------------------------------ users that are named nowhere

-- Whether a user is named is looked up in each table with a reference to users, and when they are deleted once more.
CREATE INDEX job_runs_created_by ON job_runs (created_by, id);
CREATE INDEX job_runs_cancel_requested_by ON job_runs (cancel_requested_by) WHERE cancel_requested_by IS NOT NULL;
CREATE INDEX job_run_step_attempts_decided_by ON job_run_step_attempts (decided_by) WHERE decided_by IS NOT NULL;
CREATE INDEX job_versions_created_by ON job_versions (created_by);

-- ------------------------------------------------------------------ targets that are deleted
-- What ran on a target keeps its id, which names nobody once it is deleted (ADR 0081): to empty it was to write each target
-- run that it ever had anew. A row still can't be made for a target that is not there, nor while it is being deleted, by
-- servers of the version before either.

CREATE FUNCTION hold_target() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM FROM targets WHERE id = NEW.target_id FOR KEY SHARE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'target % is not there', NEW.target_id
      USING ERRCODE = 'foreign_key_violation', TABLE = 'job_run_targets', COLUMN = 'target_id';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER job_run_targets_hold_target AFTER INSERT ON job_run_targets FOR EACH ROW
  WHEN (NEW.target_id IS NOT NULL) EXECUTE FUNCTION hold_target();
ALTER TABLE job_run_targets DROP CONSTRAINT job_run_targets_target_id_fkey;
COMMENT ON COLUMN job_run_targets.target_id IS 'Stays when the target is deleted, and names nobody then; no other target ever has it.';

ALTER TABLE ssh_execution_context DROP CONSTRAINT ssh_execution_context_target_id_fkey;
-- It was there for the reference alone.
DROP INDEX ssh_execution_context_target;
