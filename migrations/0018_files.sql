-- Files that users upload for steps, and artifacts: files that steps have fetched. What is in them is encrypted, in pieces.
-- A server of the version before neither writes nor reads these.

CREATE TABLE files (
  id           uuid PRIMARY KEY,
  name         text NOT NULL CONSTRAINT files_name_key UNIQUE,
  category_id  bigint NOT NULL REFERENCES categories,
  description  text NOT NULL DEFAULT '',
  created_by   bigint REFERENCES users ON DELETE SET NULL,
  created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  last_used_at timestamptz
);
COMMENT ON TABLE files IS 'What users upload, for steps to copy to targets. A name never gets other content: another upload has another name.';
COMMENT ON COLUMN files.category_id IS 'Who may see and edit jobs of the category may see and edit the file; jobs in it and below it may use it, those of every category one in general.';
COMMENT ON COLUMN files.last_used_at IS 'When an agent last asked for it, give or take an hour.';
CREATE INDEX files_category ON files (category_id);

CREATE TABLE run_artifacts (
  id              uuid PRIMARY KEY,
  job_run_step_id bigint NOT NULL REFERENCES job_run_steps ON DELETE CASCADE,
  epoch           integer NOT NULL CHECK (epoch > 0),
  name            bytea NOT NULL,
  name_digest     bytea NOT NULL,
  created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  UNIQUE (job_run_step_id, epoch, name_digest)
);
COMMENT ON TABLE run_artifacts IS 'What attempts of steps have fetched from targets, kept with the run. Listed once the content is whole.';
COMMENT ON COLUMN run_artifacts.name IS 'Under the run''s data key: names of files come from targets.';
COMMENT ON COLUMN run_artifacts.name_digest IS 'HMAC-SHA-256 of the name by the run''s data key: finds it again where an agent asks twice.';

CREATE TABLE contents (
  id          uuid PRIMARY KEY,
  file_id     uuid UNIQUE REFERENCES files ON DELETE CASCADE,
  artifact_id uuid UNIQUE REFERENCES run_artifacts ON DELETE CASCADE,
  size        bigint NOT NULL CHECK (size >= 0),
  parts       integer NOT NULL DEFAULT 0 CHECK (parts >= 0),
  sha256      bytea CHECK (octet_length(sha256) = 32),
  data_key    text NOT NULL,
  touched_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  CHECK (num_nonnulls(file_id, artifact_id) = 1),
  CHECK (id = coalesce(file_id, artifact_id))
);
COMMENT ON TABLE contents IS 'What is in a file or an artifact, of the same id.';
COMMENT ON COLUMN contents.parts IS 'Pieces that are stored, from the first on without a hole.';
COMMENT ON COLUMN contents.sha256 IS 'Of all of it; null until it is whole and was read again.';
COMMENT ON COLUMN contents.data_key IS 'Encrypts the pieces; wrapped by the master key.';
COMMENT ON COLUMN contents.touched_at IS 'When the last piece came: what is not whole is given up after a day.';
CREATE INDEX contents_unfinished ON contents (touched_at) WHERE sha256 IS NULL;

CREATE TABLE content_parts (
  content_id uuid NOT NULL REFERENCES contents ON DELETE CASCADE,
  number     integer NOT NULL CHECK (number >= 0),
  sealed     bytea NOT NULL,
  PRIMARY KEY (content_id, number)
);
-- What is encrypted can't be compressed.
ALTER TABLE content_parts ALTER COLUMN sealed SET STORAGE EXTERNAL;
COMMENT ON TABLE content_parts IS 'Pieces of 256 KiB, the last may be shorter; each bound to content and number.';

ALTER TABLE job_versions ADD COLUMN file_names text[];
COMMENT ON COLUMN job_versions.file_names IS 'Files that its steps name in so many words; null for none. For telling which jobs use a file.';
CREATE INDEX job_versions_file_names ON job_versions USING gin (file_names) WHERE file_names IS NOT NULL;
