-- +goose Up
CREATE TABLE sources (
  name       TEXT    NOT NULL PRIMARY KEY,
  log_id     TEXT    NOT NULL,
  seq        INTEGER NOT NULL,
  position   BLOB    NOT NULL,
  generation INTEGER NOT NULL,
  saved_ms   INTEGER NOT NULL
) STRICT;

CREATE TABLE slots (
  slot     INTEGER NOT NULL PRIMARY KEY,
  epoch    INTEGER NOT NULL,
  owner    TEXT    NOT NULL,
  until_ms INTEGER NOT NULL
) STRICT;

-- Every slot exists from the start, so that claiming is an update of a known row and never a race of inserts.
INSERT INTO slots (slot, epoch, owner, until_ms)
WITH RECURSIVE n (slot) AS (SELECT 0 UNION ALL SELECT slot + 1 FROM n WHERE slot < 255)
SELECT slot, 0, '', 0 FROM n;

CREATE TABLE slot_progress (
  source   TEXT    NOT NULL,
  slot     INTEGER NOT NULL REFERENCES slots (slot),
  read_seq INTEGER NOT NULL,
  PRIMARY KEY (source, slot)
) STRICT, WITHOUT ROWID;

-- Only endpoints that are not in step with their slot.
CREATE TABLE endpoint_progress (
  source   TEXT NOT NULL,
  endpoint TEXT NOT NULL,
  record   BLOB NOT NULL,
  PRIMARY KEY (source, endpoint)
) STRICT;

-- The payload stands outside the record and last, so that reading the rest does not touch its pages.
CREATE TABLE exceptions (
  source   TEXT    NOT NULL,
  endpoint TEXT    NOT NULL,
  seq      INTEGER NOT NULL,
  type     TEXT    NOT NULL,
  state    INTEGER NOT NULL,
  event_id TEXT    NOT NULL,
  record   BLOB    NOT NULL,
  payload  BLOB    NOT NULL,
  PRIMARY KEY (source, endpoint, seq, type)
) STRICT;
CREATE INDEX exceptions_state ON exceptions (source, state, endpoint, seq, type);
CREATE INDEX exceptions_event ON exceptions (event_id);

CREATE TABLE attempts (
  id          INTEGER NOT NULL PRIMARY KEY,
  event_id    TEXT    NOT NULL,
  endpoint    TEXT    NOT NULL,
  source      TEXT    NOT NULL,
  seq         INTEGER NOT NULL,
  type        TEXT    NOT NULL,
  attempt     INTEGER NOT NULL,
  epoch       INTEGER NOT NULL,
  started_us  INTEGER NOT NULL,
  duration_us INTEGER NOT NULL,
  status      INTEGER NOT NULL,
  outcome     TEXT    NOT NULL,
  cause       TEXT    NOT NULL,
  error       TEXT    NOT NULL,
  body_sha256 BLOB    NOT NULL
) STRICT;
CREATE INDEX attempts_event ON attempts (event_id);
-- An index ends with the row's id: this one is also the order of time.
CREATE INDEX attempts_endpoint ON attempts (endpoint);

CREATE TABLE subscriptions (
  source          TEXT    NOT NULL,
  endpoint        TEXT    NOT NULL,
  name            TEXT    NOT NULL,
  definition_hash TEXT    NOT NULL,
  from_seq        INTEGER NOT NULL,
  created_ms      INTEGER NOT NULL,
  PRIMARY KEY (source, endpoint, name)
) STRICT;

CREATE TABLE endpoint_states (
  endpoint TEXT    NOT NULL PRIMARY KEY,
  disabled INTEGER NOT NULL,
  reason   TEXT    NOT NULL,
  at_ms    INTEGER NOT NULL
) STRICT;

CREATE TABLE expired (
  source    TEXT    NOT NULL,
  endpoint  TEXT    NOT NULL,
  first_seq INTEGER NOT NULL,
  last_seq  INTEGER NOT NULL,
  at_ms     INTEGER NOT NULL,
  PRIMARY KEY (source, endpoint, first_seq)
) STRICT;
