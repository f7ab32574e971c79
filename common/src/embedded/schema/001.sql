-- Version 1. Times are microseconds since 1970; ids are the 16 bytes of a UUID; bodies are JSON.

-- The record: append-only, offsets from 1 without gaps.
CREATE TABLE ledger (
    position INTEGER PRIMARY KEY,
    subject  TEXT,              -- what a record other than an event is about
    body     TEXT NOT NULL
) STRICT;
CREATE INDEX ledger_by_subject ON ledger (subject) WHERE subject IS NOT NULL;

-- The promise to try. States: 0 ready, 1 parked, 2 claimed, 3 buried, 4 unreadable, 5 finished.
CREATE TABLE queue (
    ordinal    INTEGER PRIMARY KEY, -- order of arrival
    job        BLOB NOT NULL UNIQUE,
    project    TEXT NOT NULL,
    state      INTEGER NOT NULL DEFAULT 0,
    at         INTEGER NOT NULL,    -- parked: wakes; claimed: expires; buried, finished: since
    token      INTEGER NOT NULL DEFAULT 0,
    deliveries INTEGER NOT NULL DEFAULT 0,
    worker     BLOB,
    reason     TEXT,
    message    TEXT NOT NULL
) STRICT;
CREATE INDEX queue_by_state ON queue (state, at);
CREATE INDEX queue_ready ON queue (project, ordinal) WHERE state = 0;
CREATE INDEX queue_alive ON queue (project) WHERE state <= 2;

-- Whose turn it is: the project with the smallest turn is served next and then goes to the end.
CREATE TABLE queue_turns (
    project TEXT PRIMARY KEY,
    turn    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX queue_turns_by_turn ON queue_turns (turn);

-- How many jobs are ready, parked or claimed, so that the limit costs no count.
CREATE TABLE queue_size (alive INTEGER NOT NULL) STRICT;
INSERT INTO queue_size VALUES (0);
CREATE TRIGGER queue_grows AFTER INSERT ON queue WHEN NEW.state <= 2 BEGIN
    UPDATE queue_size SET alive = alive + 1;
END;
CREATE TRIGGER queue_shrinks AFTER UPDATE OF state ON queue WHEN OLD.state <= 2 AND NEW.state > 2 BEGIN
    UPDATE queue_size SET alive = alive - 1;
END;

-- The projection of the ledger; emptied and replayed by a rebuild.
CREATE TABLE deployments (
    ordinal      INTEGER PRIMARY KEY, -- order of acceptance
    id           BLOB NOT NULL UNIQUE,
    project_slug TEXT NOT NULL,
    project_path TEXT NOT NULL,
    project_name TEXT NOT NULL,
    environment  TEXT NOT NULL,
    state        TEXT NOT NULL,
    user         TEXT NOT NULL,
    events       INTEGER NOT NULL,    -- how many events it is the fold of
    body         TEXT NOT NULL
) STRICT;
CREATE INDEX deployments_by_place ON deployments (project_slug, environment, state, ordinal);
CREATE INDEX deployments_by_slug ON deployments (project_slug, environment, ordinal);
CREATE INDEX deployments_by_path ON deployments (project_path);
CREATE INDEX deployments_by_name ON deployments (project_name);
CREATE INDEX deployments_by_environment ON deployments (environment);
CREATE INDEX deployments_by_state ON deployments (state);
CREATE INDEX deployments_by_user ON deployments (user);

CREATE TABLE jobs (
    job        BLOB PRIMARY KEY,
    deployment BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    id         INTEGER PRIMARY KEY,
    event      BLOB NOT NULL UNIQUE,
    deployment BLOB NOT NULL,
    number     INTEGER NOT NULL,
    position   INTEGER,               -- where the ledger has it; absent when it was applied directly
    body       TEXT NOT NULL,
    UNIQUE (deployment, number)
) STRICT;

-- Events the ledger holds and the fold refused.
CREATE TABLE refused (
    event    BLOB PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE credentials (
    name TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    name   TEXT PRIMARY KEY,
    sha256 TEXT NOT NULL,
    body   TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_by_sha256 ON tokens (sha256);

-- Beside the projection: what the ledger does not hold.
CREATE TABLE leases (
    key     TEXT PRIMARY KEY,
    holder  TEXT,                     -- absent when free
    fence   INTEGER NOT NULL,         -- never goes down, so rows are never deleted
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE reservations (
    scope   TEXT PRIMARY KEY,
    expires INTEGER NOT NULL,
    body    TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX reservations_by_expiry ON reservations (expires);

CREATE TABLE logs (
    deployment BLOB NOT NULL,
    stage      TEXT NOT NULL,
    lines      INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    cut        INTEGER NOT NULL,
    PRIMARY KEY (deployment, stage)
) STRICT, WITHOUT ROWID;

CREATE TABLE log_chunks (
    id         INTEGER PRIMARY KEY,
    deployment BLOB NOT NULL,
    stage      TEXT NOT NULL,
    first      INTEGER NOT NULL,      -- number of its first line
    body       TEXT NOT NULL,         -- its lines, a JSON array
    UNIQUE (deployment, stage, first)
) STRICT;

CREATE TABLE live (
    deployment BLOB PRIMARY KEY,
    body       TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One row, written by health checks.
CREATE TABLE heartbeat (beats INTEGER NOT NULL) STRICT;
INSERT INTO heartbeat VALUES (0);
