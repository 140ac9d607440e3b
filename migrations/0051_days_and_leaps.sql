-- Days of output are made without anybody waiting, and a clock that leaps is noted. The server version before calls the
-- same function, and leaves leapt_at as it is.

-- CREATE TABLE … PARTITION OF would have the whole table for itself: it waits for a backup to end, and all output behind it.
-- ATTACH lets others read and write.
CREATE OR REPLACE FUNCTION make_output_partitions(from_day date, days integer) RETURNS void LANGUAGE plpgsql
  SET lock_timeout = '2s' AS $$
DECLARE
  day date;
  name text;
BEGIN
  FOR i IN 0 .. days - 1 LOOP
    day := from_day + i;
    name := 'run_output_' || to_char(day, 'YYYYMMDD');
    CONTINUE WHEN to_regclass(name) IS NOT NULL;
    -- Another server is at it.
    EXIT WHEN NOT pg_try_advisory_xact_lock(9814111);
    CONTINUE WHEN to_regclass(name) IS NOT NULL;
    EXECUTE format('CREATE TABLE %I (LIKE run_output INCLUDING ALL)', name);
    EXECUTE format('ALTER TABLE run_output ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, day, day + 1);
  END LOOP;
END $$;

ALTER TABLE cluster_clock ADD COLUMN leapt_at timestamptz;
COMMENT ON COLUMN cluster_clock.leapt_at IS 'When it was last found to have gone on by more than a day since it was touched before. Retention then waits: the clock may be ahead.';
