-- Whoever reads the table would take null for a connection that is still open.

COMMENT ON COLUMN ssh_execution_context.connection_closed_at IS 'Always null: its agent keeps a connection beyond the run, closes it when nothing uses it any more, and tells nobody.';
