-- An agent says the same loss again until it knows that a server has heard of it; meanwhile it may have been leased more.
ALTER TABLE agents ADD COLUMN journal_loss text;
COMMENT ON COLUMN agents.journal_loss IS 'Which loss journal_lost_at is the time of, as the agent names it.';
