-- What jobs are kept by: versions with notes and names, a life from draft to archived, labels, templates, and a tree of
-- categories. The server version before sees active jobs, and names of categories that are paths.

-- ------------------------------------------------------------------ versions

ALTER TABLE job_versions
  ADD COLUMN note text NOT NULL DEFAULT '',
  ADD COLUMN restores integer;
COMMENT ON COLUMN job_versions.note IS 'What its author said of the change.';
COMMENT ON COLUMN job_versions.restores IS 'The version that this one brought back; null for one that was written.';

-- For the health of jobs: which name credentials at all.
CREATE INDEX job_versions_credentials ON job_versions (job_id, version) WHERE step_credentials IS NOT NULL;

CREATE TABLE job_version_names (
  job_id  bigint NOT NULL REFERENCES jobs ON DELETE CASCADE,
  name    text NOT NULL CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$' AND name !~ '^[0-9]+$'),
  kind    text NOT NULL CHECK (kind IN ('tag', 'channel')),
  version integer NOT NULL,
  set_by  bigint REFERENCES users ON DELETE SET NULL,
  set_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (job_id, name),
  FOREIGN KEY (job_id, version) REFERENCES job_versions (job_id, version) ON DELETE CASCADE
);
COMMENT ON TABLE job_version_names IS 'Names of versions: a tag never moves, a channel does. One name space for both, so that a run can name either.';
CREATE FUNCTION refuse_moved_tag() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'a tag never moves' USING ERRCODE = 'integrity_constraint_violation'; END $$;
CREATE TRIGGER job_version_names_tags_stay BEFORE UPDATE ON job_version_names FOR EACH ROW
  WHEN (OLD.kind = 'tag' AND (OLD.job_id, OLD.name, OLD.kind, OLD.version) IS DISTINCT FROM (NEW.job_id, NEW.name, NEW.kind, NEW.version))
  EXECUTE FUNCTION refuse_moved_tag();

-- ------------------------------------------------------------------ jobs

ALTER TABLE jobs
  ADD COLUMN state text NOT NULL DEFAULT 'active' CHECK (state IN ('draft', 'active', 'inactive', 'archived')),
  ADD COLUMN state_note text NOT NULL DEFAULT '',
  ADD COLUMN labels jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(labels) = 'object'),
  ADD COLUMN is_template boolean NOT NULL DEFAULT false,
  ADD COLUMN made_from_job_id bigint REFERENCES jobs ON DELETE SET NULL,
  ADD COLUMN made_from_version integer,
  ADD COLUMN updated_by bigint REFERENCES users ON DELETE SET NULL,
  ADD COLUMN deleted_at timestamptz,
  ADD COLUMN search_text text GENERATED ALWAYS AS (
    lower(name || E'\n' || description || E'\n' || replace(replace(labels::text, '": "', '='), '"', ' '))) STORED;
COMMENT ON COLUMN jobs.state IS 'What may follow what is in status_edges. is_active stays what the server version before goes by.';
COMMENT ON COLUMN jobs.state_note IS 'What was said when it came into this state.';
COMMENT ON COLUMN jobs.labels IS 'Name to text value, as of targets. They belong to the job, not to a version.';
COMMENT ON COLUMN jobs.is_template IS 'Other jobs are made from it; it is run for trial only.';
COMMENT ON COLUMN jobs.made_from_job_id IS 'The template that it was made from.';
COMMENT ON COLUMN jobs.deleted_at IS 'Null: there. Otherwise kept only because its runs refer to its versions; gone with the last of them.';
COMMENT ON COLUMN jobs.search_text IS 'Where the search of the list looks: name, description, labels as name=value.';
UPDATE jobs SET state = 'inactive' WHERE NOT is_active;

ALTER TABLE status_edges DROP CONSTRAINT status_edges_kind_check;
ALTER TABLE status_edges ADD CONSTRAINT status_edges_kind_check CHECK (kind IN ('step', 'run', 'target_run', 'job'));
INSERT INTO status_edges (kind, from_status, to_status) VALUES
  ('job', 'draft', 'active'),
  ('job', 'draft', 'archived'),
  ('job', 'active', 'inactive'),
  ('job', 'active', 'archived'),
  ('job', 'inactive', 'active'),
  ('job', 'inactive', 'archived'),
  ('job', 'archived', 'inactive');
CREATE FUNCTION follow_job_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND NEW.state <> OLD.state AND NOT EXISTS (
    SELECT 1 FROM status_edges e WHERE e.kind = 'job' AND e.from_status = OLD.state AND e.to_status = NEW.state) THEN
    RAISE EXCEPTION 'job % may not become % from %', NEW.id, NEW.state, OLD.state
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  NEW.is_active := NEW.state = 'active' AND NEW.deleted_at IS NULL;
  RETURN NEW;
END $$;
CREATE TRIGGER jobs_state BEFORE INSERT OR UPDATE OF state, deleted_at ON jobs FOR EACH ROW EXECUTE FUNCTION follow_job_state();

-- The name of a deleted job is free, whatever runs of it are kept.
ALTER TABLE jobs DROP CONSTRAINT jobs_name_key;
CREATE UNIQUE INDEX jobs_name_key ON jobs (name) WHERE deleted_at IS NULL;
CREATE INDEX jobs_name ON jobs (name, id);
CREATE INDEX jobs_updated ON jobs (updated_at, id);
CREATE INDEX jobs_labels ON jobs USING gin (labels) WITH (fastupdate = off);
CREATE INDEX jobs_made_from ON jobs (made_from_job_id) WHERE made_from_job_id IS NOT NULL;
CREATE INDEX jobs_deleted ON jobs (id) WHERE deleted_at IS NOT NULL;

ALTER TABLE job_runs ADD COLUMN is_trial boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN job_runs.is_trial IS 'Of a draft or a template, started by somebody who may edit it.';

-- ------------------------------------------------------------------ categories

ALTER TABLE categories
  ADD COLUMN parent_id bigint REFERENCES categories,
  ADD COLUMN ancestor_ids bigint[] NOT NULL DEFAULT '{}';
CREATE INDEX categories_parent ON categories (parent_id);
COMMENT ON COLUMN categories.name IS 'The whole path, prod/db: the parent''s and its own. One that had a slash before there was a tree lies at the top.';
COMMENT ON COLUMN categories.ancestor_ids IS 'From the top to itself: what is granted on one of these is granted on it. Kept by a trigger.';
UPDATE categories SET ancestor_ids = ARRAY[id];
CREATE FUNCTION place_category() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE above bigint[] := '{}';
BEGIN
  IF NEW.parent_id IS NOT NULL THEN
    SELECT ancestor_ids INTO above FROM categories WHERE id = NEW.parent_id;
    IF NEW.id = ANY (above) THEN
      RAISE EXCEPTION 'category % would lie inside itself', NEW.id USING ERRCODE = 'check_violation', CONSTRAINT = 'categories_no_cycle';
    END IF;
    IF cardinality(above) >= 8 THEN
      RAISE EXCEPTION 'category % would lie too deep', NEW.id USING ERRCODE = 'check_violation', CONSTRAINT = 'categories_depth';
    END IF;
  END IF;
  NEW.ancestor_ids := above || NEW.id;
  RETURN NEW;
END $$;
CREATE TRIGGER categories_place BEFORE INSERT OR UPDATE OF parent_id ON categories FOR EACH ROW EXECUTE FUNCTION place_category();
CREATE FUNCTION place_categories_below() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE categories SET parent_id = parent_id WHERE parent_id = NEW.id;
  RETURN NULL;
END $$;
CREATE TRIGGER categories_place_below AFTER UPDATE OF parent_id ON categories FOR EACH ROW
  WHEN (OLD.ancestor_ids IS DISTINCT FROM NEW.ancestor_ids) EXECUTE FUNCTION place_categories_below();
