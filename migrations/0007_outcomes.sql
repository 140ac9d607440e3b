-- What follows when an attempt ends: rules of steps, held steps and decisions, late results, cleaning up after a cut.

-- ------------------------------------------------------------------ edges; target runs have a kind of their own

ALTER TABLE status_edges DROP CONSTRAINT status_edges_kind_check;
ALTER TABLE status_edges ADD CONSTRAINT status_edges_kind_check CHECK (kind IN ('step', 'run', 'target_run'));
INSERT INTO status_edges (kind, from_status, to_status) VALUES
  ('step', 'held', 'timed_out'),
  ('step', 'skipped', 'pending'),
  ('target_run', 'queued', 'running'),
  ('target_run', 'queued', 'cancelling'),
  ('target_run', 'queued', 'held'),
  ('target_run', 'queued', 'succeeded'),
  ('target_run', 'queued', 'failed'),
  ('target_run', 'queued', 'partial'),
  ('target_run', 'queued', 'cancelled'),
  ('target_run', 'queued', 'timed_out'),
  ('target_run', 'queued', 'unknown'),
  ('target_run', 'running', 'cancelling'),
  ('target_run', 'running', 'held'),
  ('target_run', 'running', 'succeeded'),
  ('target_run', 'running', 'failed'),
  ('target_run', 'running', 'partial'),
  ('target_run', 'running', 'cancelled'),
  ('target_run', 'running', 'timed_out'),
  ('target_run', 'running', 'unknown'),
  ('target_run', 'cancelling', 'succeeded'),
  ('target_run', 'cancelling', 'failed'),
  ('target_run', 'cancelling', 'partial'),
  ('target_run', 'cancelling', 'cancelled'),
  ('target_run', 'cancelling', 'timed_out'),
  ('target_run', 'cancelling', 'unknown'),
  ('target_run', 'held', 'running'),
  ('target_run', 'held', 'cancelling'),
  ('target_run', 'held', 'succeeded'),
  ('target_run', 'held', 'failed'),
  ('target_run', 'held', 'partial'),
  ('target_run', 'held', 'cancelled'),
  ('target_run', 'held', 'timed_out'),
  ('target_run', 'held', 'unknown'),
  ('target_run', 'unknown', 'running'),
  ('target_run', 'unknown', 'succeeded'),
  ('target_run', 'unknown', 'failed'),
  ('target_run', 'unknown', 'cancelled'),
  ('target_run', 'unknown', 'timed_out')
;
CREATE OR REPLACE TRIGGER job_run_targets_edge BEFORE UPDATE OF status ON job_run_targets FOR EACH ROW
  WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION check_status_edge('target_run');

-- ------------------------------------------------------------------ rules and what they lead to

ALTER TABLE job_versions ADD COLUMN step_rules jsonb;
COMMENT ON COLUMN job_versions.step_rules IS 'on_unknown, hold_for, retry, when_status of each step by its number, in clear: the server settles by them. Null where no step has any.';

ALTER TABLE job_runs
  ADD COLUMN targets_held integer NOT NULL DEFAULT 0 CHECK (targets_held >= 0),
  ADD COLUMN late_results integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN job_runs.late_results IS 'Results that came after the run had ended, or that an attempt no longer current brought: they changed no outcome.';

ALTER TABLE job_run_targets ADD COLUMN first_failure text;
COMMENT ON COLUMN job_run_targets.first_failure IS 'Outcome of the step that failed first, while steps that run after a failure follow: what the target run will end with.';

ALTER TABLE job_run_steps
  ADD COLUMN IF NOT EXISTS not_before timestamptz,
  ADD COLUMN held_until timestamptz,
  ADD COLUMN is_clean_up boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN job_run_steps.not_before IS 'The next try of a step that is retried begins no earlier.';
COMMENT ON COLUMN job_run_steps.held_until IS 'Until when a held step waits for a decision; then it ends unknown.';
COMMENT ON COLUMN job_run_steps.is_clean_up IS 'Made ready after a failure or a cancel of its target run: that cancel does not stop it.';
CREATE INDEX job_run_steps_held ON job_run_steps (held_until) WHERE status = 'held';

ALTER TABLE job_run_step_attempts
  ADD COLUMN advice text,
  ADD COLUMN survivors jsonb,
  ADD COLUMN decision text CHECK (decision IN ('succeeded', 'failed', 'retry', 'cancel')),
  ADD COLUMN decision_note text,
  ADD COLUMN decided_by bigint REFERENCES users ON DELETE SET NULL,
  ADD COLUMN decided_at timestamptz;
COMMENT ON COLUMN job_run_step_attempts.decision IS 'What a person decided of the held step that this attempt had left.';

-- ------------------------------------------------------------------ after a cut: what may still run on targets

CREATE TABLE attempt_clean_ups (
  job_run_step_id bigint NOT NULL REFERENCES job_run_steps ON DELETE CASCADE,
  epoch           integer NOT NULL,
  segment_id      bigint NOT NULL,
  due_at          timestamptz NOT NULL,
  asked_at        timestamptz,
  agent_id        bigint,
  tries           integer NOT NULL DEFAULT 0,
  found           text CHECK (found IN ('nothing', 'ended', 'survivors', 'unreachable')),
  survivors       jsonb,
  told_at         timestamptz,
  done_at         timestamptz,
  PRIMARY KEY (job_run_step_id, epoch)
);
CREATE INDEX attempt_clean_ups_due ON attempt_clean_ups (segment_id, due_at) WHERE done_at IS NULL;
COMMENT ON TABLE attempt_clean_ups IS 'Attempts that ended unknown: their processes may still run, and the next agent to reach the target ends them.';
COMMENT ON COLUMN attempt_clean_ups.due_at IS 'When the processes are nobody''s any more: the attempt''s deadline, or at once when the run was cancelled or the step is run again.';
