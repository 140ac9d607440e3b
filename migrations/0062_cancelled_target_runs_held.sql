-- A server of the version before doesn't know that a target run was cancelled by itself. If the step there becomes
-- unknown and its job says to hold it, that server has the target run wait for a decision. No change leads from
-- cancelling to held: it was refused, and the agent that had reported the step could not connect to that server. Now the
-- target run is held until a server of this version ends it, within a second.
CREATE OR REPLACE TRIGGER job_run_targets_edge BEFORE UPDATE OF status ON job_run_targets FOR EACH ROW
  WHEN (OLD.status IS DISTINCT FROM NEW.status
    AND NOT (OLD.status = 'cancelling' AND NEW.status = 'held' AND OLD.cancel_requested_at IS NOT NULL))
  EXECUTE FUNCTION check_status_edge('target_run');
