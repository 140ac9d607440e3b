-- When the secret in a credential has to be another one: people are warned; nothing is refused by it.
ALTER TABLE credentials ADD COLUMN expires_on date;
COMMENT ON COLUMN credentials.expires_on IS 'The last day on which its secret is to be used, as its author says; null for none known.';
