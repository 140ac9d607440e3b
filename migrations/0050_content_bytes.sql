-- What files and artifacts take, without a look at all of them for each that is begun. Kept by triggers: the server version
-- before keeps it too.

CREATE TABLE content_bytes (
  id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  bytes bigint NOT NULL
);
COMMENT ON TABLE content_bytes IS 'The sum of its rows is that of contents.size. Each change of contents adds a row, so that none waits for another; now and then many become one.';
COMMENT ON COLUMN content_bytes.bytes IS 'Below zero for what was deleted.';

CREATE FUNCTION note_content_bytes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO content_bytes (bytes) SELECT sum(size) FROM changed HAVING count(*) > 0;
  ELSE
    INSERT INTO content_bytes (bytes) SELECT -sum(size) FROM changed HAVING count(*) > 0;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER contents_added AFTER INSERT ON contents REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION note_content_bytes();
CREATE TRIGGER contents_deleted AFTER DELETE ON contents REFERENCING OLD TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION note_content_bytes();

-- The triggers have locked out whoever writes contents until this commits.
INSERT INTO content_bytes (bytes) SELECT sum(size) FROM contents HAVING count(*) > 0;
