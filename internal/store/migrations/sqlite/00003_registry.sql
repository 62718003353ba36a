-- +goose Up

-- Endpoints that the API made. Declared ones stand in the configuration.
CREATE TABLE endpoints (
  id          TEXT    NOT NULL PRIMARY KEY,
  tenant      TEXT    NOT NULL,
  url         TEXT    NOT NULL,
  description TEXT    NOT NULL,
  settings    TEXT    NOT NULL, -- JSON
  secrets     BLOB    NOT NULL, -- sealed: JSON, secrets and when they end
  expires_ms  INTEGER NOT NULL, -- when the next of the secrets ends; 0: none does
  version     INTEGER NOT NULL,
  created_ms  INTEGER NOT NULL,
  updated_ms  INTEGER NOT NULL,
  -- Set while it is being deleted, so that a restart in between ends with the whole of it gone, not with half.
  deleted_ms  INTEGER NOT NULL
) STRICT;
CREATE INDEX endpoints_tenant ON endpoints (tenant, id);
CREATE INDEX endpoints_expires ON endpoints (expires_ms) WHERE expires_ms > 0;

-- Subscriptions that the API made.
CREATE TABLE api_subscriptions (
  id          TEXT    NOT NULL PRIMARY KEY,
  endpoint    TEXT    NOT NULL REFERENCES endpoints (id) ON DELETE CASCADE,
  description TEXT    NOT NULL,
  types       TEXT    NOT NULL, -- a JSON list of patterns
  subject     TEXT    NOT NULL,
  paused      INTEGER NOT NULL,
  version     INTEGER NOT NULL,
  created_ms  INTEGER NOT NULL,
  updated_ms  INTEGER NOT NULL
) STRICT;
CREATE INDEX api_subscriptions_endpoint ON api_subscriptions (endpoint, id);

CREATE TABLE api_keys (
  id           TEXT    NOT NULL PRIMARY KEY,
  name         TEXT    NOT NULL,
  scope        TEXT    NOT NULL,
  tenant       TEXT    NOT NULL,
  sha256       BLOB    NOT NULL, -- of the whole key
  created_ms   INTEGER NOT NULL,
  expires_ms   INTEGER NOT NULL, -- 0: never
  last_used_ms INTEGER NOT NULL  -- 0: never
) STRICT;

-- Answers to requests that carried an Idempotency-Key, so that a repeat gets the first one's.
CREATE TABLE idempotency (
  key_id     TEXT    NOT NULL,
  idem_key   TEXT    NOT NULL,
  request    BLOB    NOT NULL, -- digest of method, path and body
  status     INTEGER NOT NULL, -- 0 while the first is being worked on
  headers    TEXT    NOT NULL,
  body       BLOB    NOT NULL, -- sealed; empty while there is no answer
  created_ms INTEGER NOT NULL,
  PRIMARY KEY (key_id, idem_key)
) STRICT;
CREATE INDEX idempotency_age ON idempotency (created_ms);

-- Sets of event types. A block says which version it is to be read with.
CREATE TABLE type_versions (
  version    INTEGER NOT NULL PRIMARY KEY,
  sha256     BLOB    NOT NULL, -- of files; going back to an older set is a new version
  files      TEXT    NOT NULL, -- JSON: the files as they were, path and content
  created_ms INTEGER NOT NULL
) STRICT;

-- Declared subscriptions that were paused. Being paused is all that the API can change about them.
CREATE TABLE paused_subscriptions (
  endpoint TEXT NOT NULL,
  name     TEXT NOT NULL,
  PRIMARY KEY (endpoint, name)
) STRICT;
