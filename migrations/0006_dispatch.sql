-- Who starts when: priorities, strategies, locks, run timeouts, reruns, steps that wait for a time.
-- Expands only: a server of the version before goes on claiming, oldest run first, and heeds none of this.

ALTER TABLE job_runs
  ADD COLUMN priority smallint NOT NULL DEFAULT 0 CHECK (priority BETWEEN -100 AND 100),
  ADD COLUMN strategy jsonb CHECK (strategy IS NULL OR jsonb_typeof(strategy) = 'object'),
  ADD COLUMN targets_opened integer CHECK (targets_opened <= targets_total),
  ADD COLUMN batch_number integer,
  ADD COLUMN batch_end integer,
  ADD COLUMN batch_failures integer,
  ADD COLUMN halted_at timestamptz,
  ADD COLUMN halted_reason text,
  ADD COLUMN timeout_s integer CHECK (timeout_s > 0),
  ADD COLUMN stop_reason text CHECK (stop_reason IN ('run_timeout')),
  ADD COLUMN locks jsonb CHECK (locks IS NULL OR jsonb_typeof(locks) = 'array'),
  ADD COLUMN rerun_of bigint REFERENCES job_runs ON DELETE SET NULL,
  ADD CONSTRAINT job_runs_halted CHECK ((halted_at IS NULL) = (halted_reason IS NULL)),
  ADD CONSTRAINT job_runs_opening CHECK ((strategy IS NULL) = (targets_opened IS NULL));
CREATE INDEX job_runs_rerun_of ON job_runs (rerun_of) WHERE rerun_of IS NOT NULL;
COMMENT ON COLUMN job_runs.priority IS 'Higher first. Its steps have it negated, as claim_rank.';
COMMENT ON COLUMN job_runs.strategy IS 'Resolved for this run''s targets: percentages are numbers, the order''s seed is here. Null: all targets start at once.';
COMMENT ON COLUMN job_runs.targets_opened IS 'Target runs whose steps may start, in the order of their ids; null without a strategy: all.';
COMMENT ON COLUMN job_runs.batch_end IS 'How many target runs may be opened before all of them must have ended; null without batches.';
COMMENT ON COLUMN job_runs.batch_failures IS 'Failures that the run had when this batch began.';
COMMENT ON COLUMN job_runs.halted_reason IS 'Which limit of failures was exceeded: no further target run starts.';
COMMENT ON COLUMN job_runs.timeout_s IS 'From its first lease; then what waits ends timed_out and what runs is stopped.';
COMMENT ON COLUMN job_runs.stop_reason IS 'Why it is cancelling, where nobody cancelled it.';
COMMENT ON COLUMN job_runs.locks IS 'What each target run needs before its first lease: [{"name","mode","per","slots"}].';

ALTER TABLE job_run_targets
  ADD COLUMN is_open boolean NOT NULL DEFAULT true,
  ADD COLUMN has_locks boolean NOT NULL DEFAULT false,
  ADD COLUMN end_reason text;
CREATE INDEX job_run_targets_unopened ON job_run_targets (job_run_id, id) WHERE NOT is_open;
COMMENT ON COLUMN job_run_targets.is_open IS 'False while the run''s strategy holds it back: its steps are pending.';
COMMENT ON COLUMN job_run_targets.has_locks IS 'Its run needs locks: those that it holds are freed when it ends.';
COMMENT ON COLUMN job_run_targets.end_reason IS 'Why it ended without having begun, for a person.';

ALTER TABLE job_run_steps
  ADD COLUMN claim_rank smallint NOT NULL DEFAULT 0,
  ADD COLUMN not_before timestamptz,
  ADD COLUMN has_locks boolean NOT NULL DEFAULT false,
  ADD COLUMN waits_lock text;
-- Everything a claim asks for by one index: ready now (not_before is null), by run; and due, by time. Runs that a server
-- of the version before claims by segment are found by it too.
DROP INDEX job_run_steps_ready;
CREATE INDEX job_run_steps_ready ON job_run_steps (segment_id, not_before, claim_rank, job_run_id, id)
  WHERE status = 'ready';
CREATE INDEX job_run_steps_in_flight ON job_run_steps (segment_id, job_run_id) WHERE status = 'running';
CREATE INDEX job_run_steps_waits_lock ON job_run_steps (waits_lock, claim_rank, id)
  WHERE status = 'ready' AND waits_lock IS NOT NULL;
-- What was given up and may go on yet: asked for of each run that is being cancelled.
CREATE INDEX job_run_step_attempts_given_up ON job_run_step_attempts (job_run_id)
  WHERE status = 'unknown' AND late_status IS NULL;
COMMENT ON COLUMN job_run_steps.claim_rank IS 'The run''s priority negated, so that one order of an index serves.';
COMMENT ON COLUMN job_run_steps.not_before IS 'Of a ready step: not leased before. Null once that is past; infinity while it waits for a lock.';
COMMENT ON COLUMN job_run_steps.waits_lock IS 'Key of the lock that was short when it was to be leased. Counts while the step is ready.';

-- ------------------------------------------------------------------ locks

CREATE TABLE locks (
  lock_key  text PRIMARY KEY,
  wanted_by bigint,
  used_at   timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);
COMMENT ON TABLE locks IS 'One row a lock: who takes slots of it locks this row, and never waits for it.';
COMMENT ON COLUMN locks.wanted_by IS 'Target run that waits for it alone: while it does, nobody shares it anew.';

CREATE TABLE lock_slots (
  lock_key      text NOT NULL,
  slot          integer NOT NULL CHECK (slot >= 0),
  target_run_id bigint NOT NULL REFERENCES job_run_targets ON DELETE CASCADE,
  job_run_id    bigint NOT NULL,
  taken_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (lock_key, slot)
);
CREATE INDEX lock_slots_target_run ON lock_slots (target_run_id);
COMMENT ON TABLE lock_slots IS 'Who holds what, from a target run''s first lease to its end, or until an unknown attempt is settled.';
COMMENT ON COLUMN lock_slots.slot IS '0: alone. From 1 on: shared.';

-- The locks that a target run needs, by key.
CREATE FUNCTION needed_locks(p_locks jsonb, p_segment_id bigint, p_target_id bigint)
  RETURNS TABLE (lock_key text, is_exclusive boolean, slots integer) LANGUAGE sql IMMUTABLE AS $$
  SELECT DISTINCT ON (1)
    n.name || CASE n.per WHEN 'segment' THEN '@segment:' || p_segment_id
      WHEN 'target' THEN '@target:' || coalesce(p_target_id, 0) ELSE '' END,
    n.mode = 'exclusive', n.slots
  FROM jsonb_to_recordset(p_locks) AS n(name text, mode text, per text, slots integer)
  ORDER BY 1
$$;

-- Takes all locks of a target run or none. Null: it holds them. Otherwise the key that was short; '' where others were
-- just at it. Waits for nobody. Called by who holds the step's row, so that no two call it for one target run.
CREATE FUNCTION take_locks(p_target_run_id bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  v_run record;
  v_need record;
  v_lock record;
  v_slot integer;
BEGIN
  IF EXISTS (SELECT 1 FROM lock_slots s WHERE s.target_run_id = p_target_run_id) THEN
    RETURN NULL;
  END IF;
  SELECT t.job_run_id, t.segment_id, t.target_id, r.locks INTO v_run
    FROM job_run_targets t JOIN job_runs r ON r.id = t.job_run_id WHERE t.id = p_target_run_id;
  FOR v_need IN SELECT * FROM needed_locks(v_run.locks, v_run.segment_id, v_run.target_id) ORDER BY lock_key LOOP
    INSERT INTO locks (lock_key) SELECT v_need.lock_key
      WHERE NOT EXISTS (SELECT 1 FROM locks l WHERE l.lock_key = v_need.lock_key) ON CONFLICT DO NOTHING;
    SELECT * INTO v_lock FROM locks l WHERE l.lock_key = v_need.lock_key FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
      DELETE FROM lock_slots s WHERE s.target_run_id = p_target_run_id;
      RETURN '';
    END IF;
    v_slot := NULL;
    IF v_need.is_exclusive THEN
      IF NOT EXISTS (SELECT 1 FROM lock_slots s WHERE s.lock_key = v_need.lock_key) THEN
        v_slot := 0;
      END IF;
    ELSIF NOT EXISTS (SELECT 1 FROM lock_slots s WHERE s.lock_key = v_need.lock_key AND s.slot = 0)
      AND NOT EXISTS (SELECT 1 FROM job_run_steps w WHERE w.target_run_id = v_lock.wanted_by
                      AND w.status = 'ready' AND w.waits_lock = v_need.lock_key) THEN
      IF v_need.slots IS NULL THEN
        SELECT coalesce(max(s.slot), 0) + 1 INTO v_slot FROM lock_slots s WHERE s.lock_key = v_need.lock_key;
      ELSE
        SELECT min(n) INTO v_slot FROM generate_series(1, v_need.slots) n
          WHERE NOT EXISTS (SELECT 1 FROM lock_slots s WHERE s.lock_key = v_need.lock_key AND s.slot = n)
            AND (SELECT count(*) FROM lock_slots s WHERE s.lock_key = v_need.lock_key) < v_need.slots;
      END IF;
    END IF;
    IF v_slot IS NULL THEN
      DELETE FROM lock_slots s WHERE s.target_run_id = p_target_run_id;
      IF v_need.is_exclusive AND NOT EXISTS (
        SELECT 1 FROM job_run_steps w WHERE w.target_run_id = v_lock.wanted_by
          AND w.status = 'ready' AND w.waits_lock = v_need.lock_key) THEN
        UPDATE locks l SET wanted_by = p_target_run_id WHERE l.lock_key = v_need.lock_key;
      END IF;
      RETURN v_need.lock_key;
    END IF;
    INSERT INTO lock_slots (lock_key, slot, target_run_id, job_run_id)
      VALUES (v_need.lock_key, v_slot, p_target_run_id, v_run.job_run_id);
    UPDATE locks l SET used_at = clock_timestamp(),
      wanted_by = CASE WHEN l.wanted_by = p_target_run_id THEN NULL ELSE l.wanted_by END
      WHERE l.lock_key = v_need.lock_key AND (l.wanted_by = p_target_run_id OR l.used_at < clock_timestamp() - interval '1 day');
  END LOOP;
  RETURN NULL;
END $$;

-- Lets steps that wait for these locks be tried again, a few for each lock, by priority and age. One that waits for it alone
-- goes before all others, once nobody holds it. Those that others have at hand are left out. Returns their segments.
CREATE FUNCTION wake_lock_waiters(p_lock_keys text[], p_each integer) RETURNS SETOF bigint LANGUAGE sql AS $$
  WITH wanted AS MATERIALIZED (
    SELECT k.lock_key, alone.id, EXISTS (SELECT 1 FROM lock_slots s WHERE s.lock_key = k.lock_key) AS is_held
    FROM unnest(p_lock_keys) k(lock_key)
    LEFT JOIN locks l ON l.lock_key = k.lock_key
    LEFT JOIN LATERAL (SELECT st.id FROM job_run_steps st
      WHERE st.target_run_id = l.wanted_by AND st.status = 'ready' AND st.waits_lock = k.lock_key LIMIT 1) alone ON true
  ), waiting AS MATERIALIZED (
    SELECT id FROM wanted WHERE id IS NOT NULL AND NOT is_held
    UNION ALL
    SELECT w.id FROM wanted CROSS JOIN LATERAL (SELECT st.id FROM job_run_steps st
      WHERE st.status = 'ready' AND st.waits_lock = wanted.lock_key
      ORDER BY st.waits_lock, st.claim_rank, st.id LIMIT p_each) w
    WHERE wanted.id IS NULL
  ), held AS MATERIALIZED (
    SELECT st.id FROM job_run_steps st WHERE st.id IN (SELECT id FROM waiting) AND st.status = 'ready'
    ORDER BY st.id FOR UPDATE SKIP LOCKED
  )
  UPDATE job_run_steps st SET not_before = NULL, waits_lock = NULL FROM held WHERE st.id = held.id
  RETURNING st.segment_id
$$;

-- Frees what these target runs hold and tells the segments of those who wait for it.
CREATE FUNCTION free_locks(p_target_run_ids bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  v_keys text[];
  v_segments bigint[];
BEGIN
  WITH freed AS (DELETE FROM lock_slots s WHERE s.target_run_id = ANY (p_target_run_ids) RETURNING s.lock_key)
  SELECT array_agg(DISTINCT lock_key) INTO v_keys FROM freed;
  IF v_keys IS NULL THEN
    RETURN;
  END IF;
  SELECT array_agg(DISTINCT w) INTO v_segments FROM wake_lock_waiters(v_keys, 8) w;
  IF v_segments IS NOT NULL THEN
    PERFORM pg_notify('opsc_progress', jsonb_build_object('r', '[]'::jsonb, 's', to_jsonb(v_segments), 'c', '[]'::jsonb)::text);
  END IF;
END $$;

-- Whatever ends a target run frees its locks. What an unknown attempt may still be doing keeps them until that is settled.
CREATE FUNCTION free_locks_of_ended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM free_locks(ARRAY[NEW.id]);
  RETURN NULL;
END $$;
CREATE TRIGGER job_run_targets_locks AFTER UPDATE OF status ON job_run_targets FOR EACH ROW
  WHEN (NEW.has_locks AND OLD.status IS DISTINCT FROM NEW.status
    AND NEW.status IN ('succeeded', 'failed', 'partial', 'cancelled', 'timed_out'))
  EXECUTE FUNCTION free_locks_of_ended();

-- A late result settles an unknown attempt: its target run, unless it goes on, needs its locks no more. Looked at when all
-- else of the transaction is done.
CREATE FUNCTION free_locks_of_settled() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  v_target_run_id bigint;
BEGIN
  SELECT t.id INTO v_target_run_id FROM job_run_steps st JOIN job_run_targets t ON t.id = st.target_run_id
    WHERE st.id = NEW.job_run_step_id AND t.has_locks AND t.status = 'unknown';
  IF v_target_run_id IS NOT NULL THEN
    PERFORM free_locks(ARRAY[v_target_run_id]);
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER job_run_step_attempts_locks AFTER UPDATE OF late_status ON job_run_step_attempts
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (NEW.late_status IS NOT NULL AND OLD.late_status IS NULL) EXECUTE FUNCTION free_locks_of_settled();
