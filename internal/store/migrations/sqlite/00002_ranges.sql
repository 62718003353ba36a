-- +goose Up

-- What each version of a subscription covers of each source. It takes the place of subscriptions, which knew a start alone.
CREATE TABLE subscription_ranges (
  source       TEXT    NOT NULL,
  endpoint     TEXT    NOT NULL,
  subscription TEXT    NOT NULL,
  version      INTEGER NOT NULL,
  types        TEXT    NOT NULL, -- a JSON list of patterns; empty for one that was made before definitions were kept
  subject      TEXT    NOT NULL,
  from_seq     INTEGER NOT NULL,
  live_seq     INTEGER NOT NULL,
  to_seq       INTEGER NOT NULL, -- 0 while it has no end
  backfilled   INTEGER NOT NULL,
  PRIMARY KEY (source, endpoint, subscription, version)
) STRICT;
INSERT INTO subscription_ranges
SELECT source, endpoint, name, 1, '', '', from_seq, from_seq, 0, 1 FROM subscriptions;
DROP TABLE subscriptions;

ALTER TABLE endpoint_states ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
