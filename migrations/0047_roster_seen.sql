-- After a restore agents may have seen a newer roster than the database has.
ALTER TABLE agent_sessions ADD COLUMN roster_number integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN agent_sessions.roster_number IS 'number of the newest roster that the agent had seen when it connected, as it says; 0 for none. Above segments.roster_number the database was set back';
