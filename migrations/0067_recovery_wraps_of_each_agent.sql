-- Each agent that has a generation wraps it for the recovery key: of one that lies, the wrap does not open, and it kept all
-- others from being asked. Servers of the version before store wraps as they did, and ask only while there is none.
ALTER TABLE segment_recovery_wraps DROP CONSTRAINT segment_recovery_wraps_pkey;
CREATE UNIQUE INDEX segment_recovery_wraps_once ON segment_recovery_wraps (segment_id, generation, recovery_key, wrapped_by);
