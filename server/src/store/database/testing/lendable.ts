// A database that one test gives back and the next one takes, including its connections. In a new database each
// connection would have to load the catalog, plans and compiled functions again, which is most of what a short test
// costs.
import type { Sql } from '../connection.ts';

const largeBytes = 1024 * 1024;

/**
 * Prepares a template so that databases cloned from it can be emptied. Needs a superuser, with whose rights they are
 * emptied: the server's own role can neither bypass the triggers of append-only tables nor watch for changes of the
 * schema.
 */
export async function makeLendable(superuser: Sql): Promise<void> {
  await superuser.unsafe(`
    create schema suite;
    create table suite.schema_changes (command text);
    create table suite.seeds (name text);
    create table suite.empty_tables (oid oid);
    create table suite.sequences (oid oid, last_value bigint);
    insert into suite.sequences select seqrelid, pg_sequence_last_value(seqrelid) from pg_sequence;

    create function suite.note_schema_change() returns event_trigger language plpgsql security definer as $$
    begin insert into suite.schema_changes values (tg_tag); end $$;

    create function suite.written(at_least bigint) returns setof name language sql stable as $$
      select relname from pg_class
       where relkind = 'r' and relnamespace = 'public'::regnamespace and pg_relation_size(oid) >= at_least
    $$;

    do $$ declare name text; begin
      for name in select suite.written(1) loop
        insert into suite.seeds values (name);
        execute format('create table suite.%1$I as table public.%1$I', name);
      end loop;
    end $$;

    insert into suite.empty_tables
      select oid from pg_class
       where relkind = 'r' and relnamespace = 'public'::regnamespace and relname not in (select name from suite.seeds);

    -- Restores the original content, or returns the reason why that is impossible.
    create function suite.empty() returns text language plpgsql security definer
      set session_replication_role = replica as $$
    declare name text; is_used boolean; is_changed boolean;
    begin
      if exists (select from suite.schema_changes) then return 'its schema was changed'; end if;
      if exists (select from pg_statistic join suite.empty_tables on oid = starelid) then return 'its plans rest on statistics'; end if;
      -- Statements that the previous test did not wait for may still be running.
      for attempt in 1..400 loop
        is_used := exists (select from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
                              and backend_type = 'client backend' and state <> 'idle');
        exit when not is_used;
        perform pg_sleep(0.005), pg_stat_clear_snapshot();
      end loop;
      if is_used then return 'it is in use'; end if;
      if exists (select from pg_locks l join pg_database d on d.oid = l.database
                  where d.datname = current_database() and l.locktype = 'advisory') then return 'it is locked'; end if;
      if exists (select suite.written(${largeBytes})) then return 'it is large'; end if;
      for name in select suite.written(1) except select s.name from suite.seeds s loop
        execute format('delete from public.%I', name);
      end loop;
      for name in select s.name from suite.seeds s loop
        execute format('select exists ((table suite.%1$I except table public.%1$I) union all '
          '(table public.%1$I except table suite.%1$I))', name) into is_changed;
        if is_changed then
          execute format('delete from public.%I', name);
          execute format('insert into public.%1$I overriding system value table suite.%1$I', name);
        end if;
      end loop;
      perform setval(oid::regclass, coalesce(last_value, 1), last_value is not null) from suite.sequences;
      return null;
    end $$;

    grant usage on schema suite to public;
    create event trigger suite_schema_changes on ddl_command_end execute function suite.note_schema_change()`);
}

/** Restores the original content of the database. Returns the reason if that is impossible, otherwise null. */
export async function emptyDatabase(sql: Sql): Promise<string | null> {
  const [row] = await sql<{ problem: string | null }[]>`select suite.empty() as problem`;
  return row?.problem ?? null;
}
