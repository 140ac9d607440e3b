-- Segments whose root is held by their owner: the server signs no roster of theirs, it keeps what is to be signed.

CREATE TABLE segment_key_offers (
  segment_id bigint NOT NULL REFERENCES segments ON DELETE CASCADE,
  generation integer NOT NULL CHECK (generation > 0),
  agent_id   bigint NOT NULL REFERENCES agents ON DELETE CASCADE,
  public_key bytea NOT NULL,
  wrapped    text NOT NULL,
  signature  text NOT NULL,
  offered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (segment_id, generation, agent_id)
);
COMMENT ON TABLE segment_key_offers IS 'Segment keys that agents have made and that no roster names yet: the owner of the root chooses one of each generation.';
COMMENT ON COLUMN segment_key_offers.wrapped IS 'The private half, wrapped for the agent that made it.';
COMMENT ON COLUMN segment_key_offers.signature IS 'By that agent, so that the owner need not believe the server.';
