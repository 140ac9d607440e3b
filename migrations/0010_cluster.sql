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

ALTER TABLE job_run_step_attempts ADD COLUMN output_expired_at timestamptz;
COMMENT ON COLUMN job_run_step_attempts.output_expired_at IS 'When retention dropped the attempt''s output; null while it is kept.';
