-- A server of the version before, which may run beside this one during an upgrade, doesn't know that a target run can be
-- cancelled by itself. When a step of it succeeds there, that server goes on with the next, and no change leads from
-- cancelling to running: what it writes would be refused, with the ends of everyone else's steps that it writes along.
CREATE FUNCTION stay_cancelling() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.status := OLD.status;
  RETURN NEW;
END $$;
-- Triggers fire in the order of their names: this one before job_run_targets_edge.
CREATE TRIGGER job_run_targets_cancelling BEFORE UPDATE OF status ON job_run_targets FOR EACH ROW
  WHEN (OLD.status = 'cancelling' AND NEW.status = 'running' AND OLD.cancel_requested_at IS NOT NULL)
  EXECUTE FUNCTION stay_cancelling();
COMMENT ON FUNCTION stay_cancelling() IS 'A target run that was cancelled by itself stays cancelling, whatever a server of the version before writes.';
