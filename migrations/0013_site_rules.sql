-- What an installation asks of its job definitions, beside what the schema asks of all. The server version before knows
-- nothing of it and saves what breaks a rule; the version that reads this says of such a job that it does.

CREATE TABLE site_rules (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name        text NOT NULL UNIQUE,
  description text NOT NULL DEFAULT '',
  category_id bigint REFERENCES categories,
  selector    text,
  per         text NOT NULL CHECK (per IN ('job', 'step')),
  condition   text NOT NULL,
  message     text NOT NULL,
  path        text NOT NULL DEFAULT '',
  severity    text NOT NULL CHECK (severity IN ('error', 'warning')),
  is_enabled  boolean NOT NULL,
  version     integer NOT NULL DEFAULT 1,
  created_by  bigint REFERENCES users ON DELETE SET NULL,
  created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_by  bigint REFERENCES users ON DELETE SET NULL,
  updated_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE site_rules IS 'Rules that job definitions are held against when they are saved, imported or moved. Jobs that were there before stay as they are and run.';
COMMENT ON COLUMN site_rules.category_id IS 'For jobs in it and in those below it; null for jobs in all.';
COMMENT ON COLUMN site_rules.selector IS 'For jobs with such labels; null for all.';
COMMENT ON COLUMN site_rules.per IS 'Asked once of each job, or of each of its steps.';
COMMENT ON COLUMN site_rules.condition IS 'CEL, true of what keeps the rule.';
COMMENT ON COLUMN site_rules.path IS 'The field that the message is shown at.';
COMMENT ON COLUMN site_rules.version IS 'Goes up with each change, so that none is lost.';
CREATE INDEX site_rules_category ON site_rules (category_id);

-- What came of looking at each job: for the health of jobs, which can't open every definition. Kept by the server
-- (site-rules/checker.ts), one at a time.
CREATE TABLE site_rule_checks (
  job_id         bigint PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
  revision       text NOT NULL,
  job_updated_at timestamptz NOT NULL,
  broken         jsonb NOT NULL DEFAULT '[]'
);
COMMENT ON TABLE site_rule_checks IS 'What came of holding jobs against the site rules. Derived: it may be emptied at any time.';
COMMENT ON COLUMN site_rule_checks.revision IS 'The rules and categories that it was held against. Another one now: to be looked at again.';
COMMENT ON COLUMN site_rule_checks.job_updated_at IS 'updated_at of the job that was looked at.';
COMMENT ON COLUMN site_rule_checks.broken IS 'Problems: path, message, severity, rule.';
CREATE INDEX site_rule_checks_broken ON site_rule_checks (job_id) WHERE broken <> '[]';
