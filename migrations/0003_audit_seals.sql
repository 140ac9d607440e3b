-- The sealed audit log: rows get a place in a Merkle tree whose signed roots (checkpoints) also others keep.
-- Expands only: a server of the version before writes rows that a newer one seals.

CREATE TABLE audit_unsealed (
  audit_id bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
COMMENT ON TABLE audit_unsealed IS 'Rows that no checkpoint covers yet. A row is put here by the transaction that writes it and taken out by the one that seals it, so that none is missed however late it commits. Without an index, as it holds what one second brings.';

CREATE TABLE audit_leaves (
  position  bigint PRIMARY KEY CHECK (position >= 0),
  audit_id  bigint NOT NULL UNIQUE,
  leaf_hash bytea NOT NULL CHECK (length(leaf_hash) = 32)
);
COMMENT ON TABLE audit_leaves IS 'Where each row is in the sealed log, and its leaf hash (docs/audit.md). Positions have no gaps and follow the order of sealing, not of ids. Outlives rows that retention removes.';

CREATE TABLE audit_nodes (
  level smallint NOT NULL CHECK (level > 0 AND level % 4 = 0),
  index bigint NOT NULL CHECK (index >= 0),
  hash  bytea NOT NULL CHECK (length(hash) = 32),
  PRIMARY KEY (level, index)
);
COMMENT ON TABLE audit_nodes IS 'Hashes of perfect subtrees of 2^level leaves, each fourth level, so that a proof reads hundreds of hashes at most.';

CREATE TABLE audit_checkpoints (
  number    bigint PRIMARY KEY CHECK (number > 0),
  size      bigint NOT NULL UNIQUE CHECK (size > 0),
  sealed_at timestamptz NOT NULL,
  note      text NOT NULL
);
CREATE INDEX audit_checkpoints_sealed_at ON audit_checkpoints (sealed_at);
COMMENT ON TABLE audit_checkpoints IS 'Signed roots of the log at a size, one each second in which rows were written.';
COMMENT ON COLUMN audit_checkpoints.note IS 'The signed text, which counts; the other columns repeat it for queries.';

CREATE TABLE audit_retention (
  below      bigint PRIMARY KEY CHECK (below > 0),
  note       text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE audit_retention IS 'Signed notes of what retention removes: rows at positions below this. Without one the rows can not be deleted.';

-- ------------------------------------------------------------------ rows are only added

CREATE FUNCTION audit_enqueue() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO audit_unsealed (audit_id) VALUES (NEW.id);
  RETURN NULL;
END $$;
CREATE TRIGGER audit_log_enqueue AFTER INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION audit_enqueue();

CREATE FUNCTION audit_refuse_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT 1 FROM audit_leaves l JOIN audit_retention r ON l.position < r.below WHERE l.audit_id = OLD.id) THEN
    RAISE EXCEPTION 'audit_log rows are immutable' USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN OLD;
END $$;
CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION audit_refuse_delete();
CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER audit_leaves_immutable BEFORE UPDATE OR DELETE ON audit_leaves FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_leaves_no_truncate BEFORE TRUNCATE ON audit_leaves FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_nodes_immutable BEFORE UPDATE OR DELETE ON audit_nodes FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_nodes_no_truncate BEFORE TRUNCATE ON audit_nodes FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_checkpoints_immutable BEFORE UPDATE OR DELETE ON audit_checkpoints FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_checkpoints_no_truncate BEFORE TRUNCATE ON audit_checkpoints FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_retention_immutable BEFORE UPDATE OR DELETE ON audit_retention FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_retention_no_truncate BEFORE TRUNCATE ON audit_retention FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

INSERT INTO audit_unsealed (audit_id) SELECT id FROM audit_log;

-- Rows are written about in the order of time: ranges of blocks are enough, and cost a write nothing.
DROP INDEX audit_log_at;
CREATE INDEX audit_log_at ON audit_log USING brin (at) WITH (pages_per_range = 16, autosummarize = on);

-- People search by the actor's name, which rows keep when the user is gone.
DROP INDEX audit_log_actor;
CREATE INDEX audit_log_actor ON audit_log (actor_name, id);
