-- What a command has used on its target, where that can tell; and when a segment key was wrapped for an agent.

ALTER TABLE job_run_steps ADD COLUMN cpu_ms bigint, ADD COLUMN peak_memory_bytes bigint;
ALTER TABLE job_run_step_attempts ADD COLUMN cpu_ms bigint, ADD COLUMN peak_memory_bytes bigint;
COMMENT ON COLUMN job_run_steps.cpu_ms IS 'Processor time of the newest attempt''s command and of what it waited for; null where the target did not tell.';
COMMENT ON COLUMN job_run_steps.peak_memory_bytes IS 'Resident memory of all processes of the command at the highest of the looks taken; null where the target did not tell.';
COMMENT ON COLUMN job_run_step_attempts.cpu_ms IS 'As in job_run_steps, of this attempt.';
COMMENT ON COLUMN job_run_step_attempts.peak_memory_bytes IS 'As in job_run_steps, of this attempt.';

ALTER TABLE segment_key_wraps ADD COLUMN wrapped_at timestamptz NOT NULL DEFAULT clock_timestamp();
COMMENT ON COLUMN segment_key_wraps.wrapped_at IS 'A wrap that is not opened is replaced by another peer''s only when it is older than some seconds: all of them are asked at once.';
