-- Steps that are leased to an agent ahead of their turn (ADR 0087): several steps of a target run can be leased at once.

LOCK TABLE job_runs IN EXCLUSIVE MODE;
LOCK TABLE job_run_steps IN EXCLUSIVE MODE;

INSERT INTO status_edges (kind, from_status, to_status) VALUES ('step', 'running', 'pending');

-- In the database, since a server of the version before knows only ready: the step would run beside the one before it, or
-- after that has failed.
CREATE FUNCTION return_to_turn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM job_run_targets t
             WHERE t.id = NEW.target_run_id AND t.status NOT IN ('queued', 'running', 'cancelling', 'held')) THEN
    NEW.status := 'skipped';
    NEW.reason := 'predecessor';
    NEW.completed_at := clock_timestamp();
    NEW.not_before := NULL;
  ELSIF EXISTS (SELECT FROM job_run_steps earlier
             WHERE earlier.target_run_id = NEW.target_run_id AND earlier.step_number < NEW.step_number
               AND earlier.status IN ('pending', 'ready', 'running', 'held')) THEN
    NEW.status := 'pending';
    NEW.not_before := NULL;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER job_run_steps_back BEFORE UPDATE OF status ON job_run_steps FOR EACH ROW
  WHEN (OLD.status = 'running' AND NEW.status = 'ready') EXECUTE FUNCTION return_to_turn();
COMMENT ON FUNCTION return_to_turn() IS 'A returned lease whose turn has not come, or will not: the step waits for the steps before it, or is skipped.';

-- With the target run: what else of it is leased is looked up at each end, and slots are counted in target runs.
DROP INDEX job_run_steps_in_flight;
CREATE INDEX job_run_steps_in_flight ON job_run_steps (segment_id, job_run_id, target_run_id) WHERE status = 'running';
