-- What one server asks of the agents that are connected to another, and what retention has removed.

CREATE UNLOGGED TABLE agent_asks (
  id         uuid PRIMARY KEY,
  segment_id bigint NOT NULL,
  request    jsonb NOT NULL,
  taken_by   uuid,
  answer     jsonb,
  asked_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE agent_asks IS 'Tests of targets for which an agent on another server is needed; deleted when answered or given up. Unlogged: who asked is gone after a crash.';
COMMENT ON COLUMN agent_asks.taken_by IS 'The server that has an agent do it.';

CREATE TABLE output_retention (
  singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  kept_from date NOT NULL
);
COMMENT ON TABLE output_retention IS 'Output of attempts of before this day was removed, or is being removed. It only moves on, and never past an open attempt.';
INSERT INTO output_retention (kept_from) VALUES ('-infinity');

CREATE INDEX job_runs_completed ON job_runs (completed_at) WHERE completed_at IS NOT NULL;
COMMENT ON INDEX job_runs_completed IS 'For retention: the oldest ended runs.';
