-- Imports of many jobs from one file: planned, looked at, applied whole or not at all.

CREATE TABLE job_imports (
  id             uuid PRIMARY KEY,
  created_by     bigint NOT NULL REFERENCES users ON DELETE CASCADE,
  format         text NOT NULL CHECK (format IN ('bundle', 'rundeck')),
  existing       text NOT NULL CHECK (existing IN ('update', 'skip', 'copy', 'ask')),
  note           text NOT NULL DEFAULT '',
  status         text NOT NULL DEFAULT 'reading'
                 CHECK (status IN ('reading', 'refused', 'planned', 'applying', 'applied', 'interrupted')),
  data_key       text NOT NULL,
  percent        integer NOT NULL DEFAULT 0 CHECK (percent BETWEEN 0 AND 100),
  jobs_done      integer NOT NULL DEFAULT 0,
  jobs_total     integer,
  reason         text NOT NULL DEFAULT '',
  report         bytea,
  problem_count  integer NOT NULL DEFAULT 0,
  finding_count  integer NOT NULL DEFAULT 0,
  new_categories text[] NOT NULL DEFAULT '{}',
  category_ids   bigint[] NOT NULL DEFAULT '{}',
  created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  beat_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at     timestamptz NOT NULL,
  applied_at     timestamptz,
  CHECK ((status = 'applied') = (applied_at IS NOT NULL))
);
CREATE INDEX job_imports_user ON job_imports (created_by, created_at);
COMMENT ON TABLE job_imports IS 'What a file of jobs would change. Applied whole or not at all, and refused when what it would change has changed since.';
COMMENT ON COLUMN job_imports.data_key IS 'Seals report and items, wrapped by the master key.';
COMMENT ON COLUMN job_imports.note IS 'That of each version that it makes.';
COMMENT ON COLUMN job_imports.reason IS 'Why it was interrupted.';
COMMENT ON COLUMN job_imports.report IS 'JSON of problems and findings, sealed: they may quote definitions.';
COMMENT ON COLUMN job_imports.category_ids IS 'Categories that it concerns: it is seen while its creator may edit jobs in all of them.';
COMMENT ON COLUMN job_imports.beat_at IS 'When the server that is at it last said so; one that is silent has stopped.';

CREATE TABLE job_import_items (
  import_id     uuid NOT NULL REFERENCES job_imports ON DELETE CASCADE,
  position      integer NOT NULL,
  action        text NOT NULL CHECK (action IN ('create', 'update', 'unchanged', 'skip', 'conflict')),
  name          text NOT NULL,
  file_name     text NOT NULL,
  category      text NOT NULL,
  is_template   boolean NOT NULL,
  step_count    integer NOT NULL,
  line          integer NOT NULL,
  job_id        bigint,
  base          text,
  choice        text CHECK (choice IN ('update', 'skip', 'copy')),
  copy_name     text,
  made_from     text,
  finding_count integer NOT NULL,
  sealed        bytea NOT NULL,
  PRIMARY KEY (import_id, position)
);
CREATE INDEX job_import_items_name ON job_import_items (import_id, file_name);
COMMENT ON TABLE job_import_items IS 'A plan job by job, as it was shown.';
COMMENT ON COLUMN job_import_items.job_id IS 'The job of that name as it was found, or the one that was made. No reference: it may go meanwhile.';
COMMENT ON COLUMN job_import_items.base IS 'Digest of that job as it was compared with; null where there was none.';
COMMENT ON COLUMN job_import_items.copy_name IS 'What a copy is to be called where its name was chosen.';
COMMENT ON COLUMN job_import_items.sealed IS 'JSON of definition, changes and findings, under the data key of the import.';
