-- +goose Up

-- Transactions that an operator gave up, and so gaps in the log.
CREATE TABLE skips (
  source       TEXT    NOT NULL,
  gtid         TEXT    NOT NULL, -- '' without GTIDs
  file         TEXT    NOT NULL,
  file_offset  INTEGER NOT NULL,
  file_created INTEGER NOT NULL,
  seq          INTEGER NOT NULL, -- the next of the log at the stop
  code         TEXT    NOT NULL, -- of the stop
  message      TEXT    NOT NULL,
  reason       TEXT    NOT NULL,
  made_by      TEXT    NOT NULL,
  made_ms      INTEGER NOT NULL,
  PRIMARY KEY (source, gtid, file, file_offset, file_created)
) STRICT;

-- Where sources have stopped, so that a command finds it after the process has ended, too.
CREATE TABLE stops (
  source       TEXT    NOT NULL PRIMARY KEY,
  gtid         TEXT    NOT NULL,
  file         TEXT    NOT NULL,
  file_offset  INTEGER NOT NULL,
  file_created INTEGER NOT NULL,
  seq          INTEGER NOT NULL,
  code         TEXT    NOT NULL,
  message      TEXT    NOT NULL,
  stopped_ms   INTEGER NOT NULL
) STRICT;
