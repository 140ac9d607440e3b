-- Jobs that never ran, found by an index: of many jobs they are few, and looking for them went through all.

ALTER TABLE jobs ADD COLUMN has_run boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN jobs.has_run IS 'False for each job that has no run, and for one of which a first run starts while its others are deleted: job_last_runs tells.';

CREATE OR REPLACE FUNCTION note_started_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO job_last_runs AS l (job_id, run_id, status)
  SELECT r.job_id, r.id, r.status FROM job_runs r WHERE r.id = NEW.id
  ON CONFLICT (job_id) DO UPDATE SET run_id = excluded.run_id, status = excluded.status WHERE l.run_id < excluded.run_id;
  UPDATE jobs SET has_run = true WHERE id = NEW.job_id AND NOT has_run;
  RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION forget_deleted_runs() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE bereft bigint[];
BEGIN
  WITH forgotten AS (
    DELETE FROM job_last_runs l USING gone WHERE l.job_id = gone.job_id AND l.run_id = gone.id RETURNING l.job_id
  ) SELECT array_agg(job_id) INTO bereft FROM forgotten;
  IF bereft IS NULL THEN RETURN NULL; END IF;
  INSERT INTO job_last_runs AS l (job_id, run_id, status)
  SELECT r.job_id, r.id, r.status FROM job_runs r
   WHERE r.id = ANY (ARRAY(
     SELECT (SELECT n.id FROM job_runs n WHERE n.job_id = b.id ORDER BY n.id DESC LIMIT 1) FROM unnest(bereft) AS b (id)))
   ORDER BY r.id FOR SHARE
  ON CONFLICT (job_id) DO UPDATE SET run_id = excluded.run_id, status = excluded.status WHERE l.run_id < excluded.run_id;
  UPDATE jobs j SET has_run = false
   WHERE j.id = ANY (bereft) AND NOT EXISTS (SELECT FROM job_last_runs l WHERE l.job_id = j.id);
  RETURN NULL;
END $$;

UPDATE jobs j SET has_run = true WHERE EXISTS (SELECT FROM job_last_runs l WHERE l.job_id = j.id);
CREATE INDEX jobs_never_run ON jobs (name, id) WHERE deleted_at IS NULL AND NOT has_run;
