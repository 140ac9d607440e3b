-- What runs are given and what their steps hand on, and which agents can take such steps.

-- ------------------------------------------------------------------ a step whose condition is false

-- An agent says so of the attempt; also late, of one that was held or unknown meanwhile.
INSERT INTO status_edges (kind, from_status, to_status) VALUES
  ('step', 'running', 'skipped'),
  ('step', 'held', 'skipped'),
  ('step', 'unknown', 'skipped');
ALTER TABLE job_run_step_attempts DROP CONSTRAINT job_run_step_attempts_status_check;
ALTER TABLE job_run_step_attempts ADD CONSTRAINT job_run_step_attempts_status_check
  CHECK (status IN ('succeeded', 'failed', 'timed_out', 'cancelled', 'unknown', 'skipped'));

-- ------------------------------------------------------------------ values

ALTER TABLE job_runs
  ADD COLUMN parameters bytea,
  ADD COLUMN secrets_id uuid,
  ADD COLUMN version_ref text,
  ADD COLUMN reason text;
COMMENT ON COLUMN job_runs.parameters IS 'JSON of the values that are no secrets, with defaults, under the run''s data key. Null for none.';
COMMENT ON COLUMN job_runs.secrets_id IS 'What its secret values are sealed for, chosen by who sealed them: a rerun has the same.';
COMMENT ON COLUMN job_runs.version_ref IS 'The tag or channel that was asked for; null for a number, or the current version.';
COMMENT ON COLUMN job_runs.reason IS 'Why, in the words of who started it.';

CREATE TABLE job_run_secrets (
  job_run_id bigint NOT NULL REFERENCES job_runs ON DELETE CASCADE,
  segment_id bigint NOT NULL REFERENCES segments,
  name       text NOT NULL,
  sealed     jsonb NOT NULL,
  PRIMARY KEY (job_run_id, segment_id, name)
);
COMMENT ON TABLE job_run_secrets IS 'Values of secret parameters, sealed to each segment that the run has targets in: its agents alone open them.';

CREATE TABLE job_run_step_outputs (
  job_run_step_id bigint PRIMARY KEY REFERENCES job_run_steps ON DELETE CASCADE,
  epoch           integer NOT NULL,
  outputs         bytea,
  secrets         jsonb
);
COMMENT ON TABLE job_run_step_outputs IS 'What a step has handed on to those after it.';
COMMENT ON COLUMN job_run_step_outputs.outputs IS 'JSON of the values that are no secrets, under the run''s data key.';
COMMENT ON COLUMN job_run_step_outputs.secrets IS 'By name: sealed by the agent to its segment.';

-- ------------------------------------------------------------------ who can take a step

ALTER TABLE agent_sessions ADD COLUMN capabilities text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN agent_sessions.capabilities IS 'What the agent said that it can do, sorted; empty where a server of the version before holds the session.';
ALTER TABLE job_run_steps ADD COLUMN needs text[];
COMMENT ON COLUMN job_run_steps.needs IS 'Capabilities without which an agent must not have it. Null for none.';

-- A server of the version before knows neither column. What it writes of a session says nothing of capabilities, and what
-- it leases must not be a step that it would send with its placeholders in it.
CREATE FUNCTION forget_capabilities() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.capabilities := '{}';
  RETURN NEW;
END $$;
CREATE TRIGGER agent_sessions_forget BEFORE UPDATE OF session_number ON agent_sessions FOR EACH ROW
  WHEN (OLD.session_number IS DISTINCT FROM NEW.session_number) EXECUTE FUNCTION forget_capabilities();

CREATE FUNCTION refuse_unable_agent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM agent_sessions s WHERE s.agent_id = NEW.agent_id AND NEW.needs <@ s.capabilities) THEN
    RETURN NEW;
  END IF;
  -- A claim leaves out what it did not lease. Who leases the step after one that has ended counts on it.
  IF OLD.status = 'ready' THEN
    RETURN NULL;
  END IF;
  RAISE EXCEPTION 'agent % can not be given step %: it needs %', NEW.agent_id, NEW.id, NEW.needs
    USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER job_run_steps_needs BEFORE UPDATE OF status ON job_run_steps FOR EACH ROW
  WHEN (NEW.status = 'running' AND OLD.status <> 'running' AND NEW.needs IS NOT NULL)
  EXECUTE FUNCTION refuse_unable_agent();
