-- The segment key, wrapped for a recovery key that its owner keeps offline: for the day on which all agents are lost.

ALTER TABLE segments ADD COLUMN recovery_key text;
COMMENT ON COLUMN segments.recovery_key IS 'X25519 public key, base64, as the newest roster names it. Agents take it from the roster alone.';

CREATE TABLE segment_recovery_wraps (
  segment_id   bigint NOT NULL,
  generation   integer NOT NULL,
  recovery_key text NOT NULL,
  wrapped      text NOT NULL,
  wrapped_by   bigint REFERENCES agents ON DELETE SET NULL,
  wrapped_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (segment_id, generation, recovery_key),
  FOREIGN KEY (segment_id, generation) REFERENCES segment_keys ON DELETE CASCADE
);
COMMENT ON TABLE segment_recovery_wraps IS 'By agents, for the recovery key that a roster named. Whether it opens, only who has that key can try.';
