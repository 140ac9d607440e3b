-- An agent's journal proves what its agent never began, of all that it was leased since the journal was begun.
ALTER TABLE agents ADD COLUMN journal_lost_at timestamptz;
COMMENT ON COLUMN agents.journal_lost_at IS 'When it last came without the journal that it had: of what was leased before, nothing follows from its absence there.';
