-- The newest run of each job beside the jobs, so that lists are filtered and counted by last result without a look at the
-- runs of each. Kept by triggers: the server version before keeps it too.

CREATE TABLE job_last_runs (
  job_id bigint PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
  run_id bigint NOT NULL,
  status text NOT NULL
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02);
COMMENT ON TABLE job_last_runs IS 'Of each job that ran the run with the highest id, and its status as job_runs has it. Written by triggers of job_runs alone.';
COMMENT ON COLUMN job_last_runs.run_id IS 'No reference: when that run is deleted, the one before it takes its place.';
COMMENT ON COLUMN job_last_runs.status IS 'Without an index: each run changes it several times, which so stays within its page; the whole table is read in milliseconds.';

-- When the transaction commits: runs of one job that start at the same time wait for each other only that long, and whoever
-- starts one holds no lock here while it waits for another.
CREATE FUNCTION note_started_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO job_last_runs AS l (job_id, run_id, status)
  SELECT r.job_id, r.id, r.status FROM job_runs r WHERE r.id = NEW.id
  ON CONFLICT (job_id) DO UPDATE SET run_id = excluded.run_id, status = excluded.status WHERE l.run_id < excluded.run_id;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER job_runs_started AFTER INSERT ON job_runs DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION note_started_run();

-- Whoever changes a run's status holds its row, so that of two transactions one at most writes of the same newest run.
CREATE FUNCTION note_run_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE job_last_runs SET status = NEW.status WHERE job_id = NEW.job_id AND run_id = NEW.id;
  RETURN NULL;
END $$;
CREATE TRIGGER job_runs_status_noted AFTER UPDATE OF status ON job_runs FOR EACH ROW
  WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION note_run_status();

-- FOR SHARE waits for whoever changes the status of the run that is the newest now: they could not find it here yet.
CREATE FUNCTION forget_deleted_runs() RETURNS trigger LANGUAGE plpgsql AS $$
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
  RETURN NULL;
END $$;
CREATE TRIGGER job_runs_forgotten AFTER DELETE ON job_runs REFERENCING OLD TABLE AS gone
  FOR EACH STATEMENT EXECUTE FUNCTION forget_deleted_runs();

-- The triggers have locked out whoever writes runs until this commits.
INSERT INTO job_last_runs (job_id, run_id, status)
SELECT j.id, r.id, r.status
  FROM jobs j
  CROSS JOIN LATERAL (SELECT n.id, n.status FROM job_runs n WHERE n.job_id = j.id ORDER BY n.id DESC LIMIT 1) r;

-- What counts are made of, now with the id, so that they are joined with the table above without reading the jobs.
DROP INDEX jobs_counted;
CREATE INDEX jobs_counted ON jobs (category_id, state) INCLUDE (id, created_by, is_template) WHERE deleted_at IS NULL;
