-- Counts of jobs by step type went through the whole table, and those by author through all of the index.
DROP INDEX jobs_counted;
CREATE INDEX jobs_counted ON jobs (category_id, state) INCLUDE (id, created_by, is_template, step_types) WHERE deleted_at IS NULL;
CREATE INDEX jobs_author ON jobs (created_by, state) WHERE deleted_at IS NULL;
