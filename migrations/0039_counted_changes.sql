-- The count of jobs by the day of their last change read every job of the days asked for; by this index it reads none.
DROP INDEX jobs_updated;
CREATE INDEX jobs_updated ON jobs (updated_at, id) INCLUDE (state, category_id) WHERE deleted_at IS NULL;
COMMENT ON INDEX jobs_updated IS 'The list by last change, and counts by it within states and categories.';
