-- As wake_lock_waiters was, but a step whose row can't be written keeps neither the end of who held the lock from being stored,
-- nor others from being tried again. It is named as refused, and no longer goes before the others. Servers of the version
-- before call wake_lock_waiters.
CREATE FUNCTION try_lock_waiters(p_lock_keys text[], p_each integer) RETURNS TABLE (segment_id bigint, refused_step bigint)
LANGUAGE plpgsql AS $$
DECLARE
  v_ids bigint[];
  v_segments bigint[];
  v_id bigint;
  v_ceded boolean := false;
BEGIN
  SELECT array_agg(held.id) INTO v_ids FROM (
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
    )
    SELECT st.id FROM job_run_steps st WHERE st.id IN (SELECT id FROM waiting) AND st.status = 'ready'
    ORDER BY st.id FOR UPDATE SKIP LOCKED
  ) held;
  IF v_ids IS NULL THEN
    RETURN;
  END IF;
  BEGIN
    WITH woken AS (
      UPDATE job_run_steps st SET not_before = NULL, waits_lock = NULL WHERE st.id = ANY (v_ids) RETURNING st.segment_id)
    SELECT array_agg(woken.segment_id) INTO v_segments FROM woken;
    RETURN QUERY SELECT s, NULL::bigint FROM unnest(v_segments) s;
    RETURN;
  EXCEPTION WHEN OTHERS THEN
    -- A conflict with others, no room, a lost or read-only database: not because of one row.
    IF left(SQLSTATE, 2) IN ('08', '25', '40', '53', '55', '57') THEN
      RAISE;
    END IF;
  END;
  FOREACH v_id IN ARRAY v_ids LOOP
    BEGIN
      UPDATE job_run_steps st SET not_before = NULL, waits_lock = NULL WHERE st.id = v_id
        RETURNING st.segment_id INTO segment_id;
      refused_step := NULL;
      RETURN NEXT;
    EXCEPTION WHEN OTHERS THEN
      IF left(SQLSTATE, 2) IN ('08', '25', '40', '53', '55', '57') THEN
        RAISE;
      END IF;
      segment_id := NULL;
      refused_step := v_id;
      RETURN NEXT;
      UPDATE locks l SET wanted_by = NULL WHERE l.lock_key IN (
        SELECT o.lock_key FROM locks o JOIN job_run_steps st ON st.target_run_id = o.wanted_by
        WHERE o.lock_key = ANY (p_lock_keys) AND st.id = v_id FOR UPDATE OF o SKIP LOCKED);
      v_ceded := v_ceded OR FOUND;
    END;
  END LOOP;
  IF v_ceded THEN
    RETURN QUERY SELECT t.segment_id, t.refused_step FROM try_lock_waiters(p_lock_keys, p_each) t;
  END IF;
END $$;

CREATE OR REPLACE FUNCTION wake_lock_waiters(p_lock_keys text[], p_each integer) RETURNS SETOF bigint LANGUAGE sql AS $$
  SELECT t.segment_id FROM try_lock_waiters(p_lock_keys, p_each) t WHERE t.segment_id IS NOT NULL
$$;
