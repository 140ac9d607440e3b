-- What agents have masked in output for its form alone, since nobody had named it: kinds and counts, never a value.
ALTER TABLE job_run_steps ADD COLUMN detections jsonb;
ALTER TABLE job_run_step_attempts ADD COLUMN detections jsonb;
COMMENT ON COLUMN job_run_steps.detections IS 'What of the newest attempt was masked for its form: [{kind, place, count}]; null where nothing was.';
COMMENT ON COLUMN job_run_step_attempts.detections IS 'As in job_run_steps, of this attempt.';
