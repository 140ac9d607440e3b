-- What counts of the list of jobs are made of, without reading the jobs themselves.
CREATE INDEX jobs_counted ON jobs (category_id, state) INCLUDE (created_by, is_template) WHERE deleted_at IS NULL;

-- The search of the list of jobs finds three letters and more by an index, where the database has the extension for that
-- (PostgreSQL's own, pg_trgm) and lets us create it. Elsewhere it reads all jobs.
DO $$
BEGIN
  CREATE EXTENSION IF NOT EXISTS pg_trgm;
  CREATE INDEX jobs_search ON jobs USING gin (search_text gin_trgm_ops) WHERE deleted_at IS NULL;
EXCEPTION WHEN insufficient_privilege OR undefined_file OR feature_not_supported OR undefined_object THEN
  RAISE NOTICE 'jobs are searched without an index: %', SQLERRM;
END $$;
