-- The audit log by action. Each page of it that is opened looks for the rows that say that the log was altered, and people
-- for rare actions: with two million rows, that read a week of the log each time, 0.5 s, or as much as a search may.

CREATE INDEX audit_log_action ON audit_log (action text_pattern_ops, id);
COMMENT ON INDEX audit_log_action IS 'For the beginning of an action, in any collation.';
