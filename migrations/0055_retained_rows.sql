-- What a row of the audit log is removed under is the newest note, which allows the most. To look for any note that allows it
-- read all of them for each row: retention leaves one an hour.

CREATE OR REPLACE FUNCTION audit_refuse_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM audit_leaves WHERE audit_id = OLD.id AND position < (SELECT max(below) FROM audit_retention)) THEN
    RAISE EXCEPTION 'audit_log rows are immutable' USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN OLD;
END $$;
