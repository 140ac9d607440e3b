-- What API tokens, sessions, sign-in links, enrollment tokens and agents were made with, so that whoever ends a session or a
-- token can also end what was made with it. Rows outlive what they tell of: what was made with something that has ended is
-- still found. No row: it was made before, by the server itself, or by a server of the version before.
ALTER TABLE sign_in_codes ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY;
ALTER TABLE sign_in_codes ADD CONSTRAINT sign_in_codes_id UNIQUE (id);

CREATE TABLE made_with (
  kind          text NOT NULL CHECK (kind IN ('api_token', 'session', 'sign_in_link', 'enrollment_token', 'agent')),
  id            bigint NOT NULL,
  user_id       bigint,
  made_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  maker_kind    text NOT NULL CHECK (maker_kind IN ('api_token', 'session', 'sign_in_link', 'enrollment_token')),
  maker_id      bigint NOT NULL,
  maker_user_id bigint,
  maker_name    text,
  maker_begun   timestamptz,
  PRIMARY KEY (kind, id)
);
CREATE INDEX made_with_maker ON made_with (maker_kind, maker_id);
COMMENT ON TABLE made_with IS 'With which session, token or link each of these was made. No references: either may have ended.';
COMMENT ON COLUMN made_with.user_id IS 'Whose it is; null for enrollment tokens and agents.';
COMMENT ON COLUMN made_with.maker_user_id IS 'Whose session or API token it was made with.';
COMMENT ON COLUMN made_with.maker_name IS 'Name of the API token that it was made with.';
COMMENT ON COLUMN made_with.maker_begun IS 'When the session that it was made with began.';
