-- Version 3: registered projects, and what is to be looked at. Times are microseconds since 1970; ids are the 16 bytes of
-- a UUID; bodies are JSON.

-- Part of the projection of the ledger; emptied and replayed by a rebuild.
CREATE TABLE projects (
    slug  TEXT PRIMARY KEY,
    hook  BLOB NOT NULL,
    entry TEXT NOT NULL,  -- what the inbox knows of the hook
    body  TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX projects_by_hook ON projects (hook);

-- Where the refs of registered projects stood.
CREATE TABLE heads (
    project     TEXT NOT NULL,
    environment TEXT NOT NULL,
    reference   TEXT NOT NULL,
    body        TEXT NOT NULL,
    PRIMARY KEY (project, environment, reference)
) STRICT, WITHOUT ROWID;

-- Beside the projection: what is to be looked at.
CREATE TABLE agenda (
    list    TEXT NOT NULL,
    key     TEXT NOT NULL,
    due     INTEGER,                     -- when it may be claimed; claimed: when the claim is over; at rest: absent
    claimed INTEGER NOT NULL DEFAULT 0,
    token   INTEGER NOT NULL DEFAULT 0,  -- names the last claim
    noted   INTEGER,                     -- claimed: from when on it is due again, if it was noted since
    expires INTEGER,                     -- at rest: until when the memo is kept
    memo    TEXT,
    PRIMARY KEY (list, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX agenda_by_due ON agenda (list, due) WHERE due IS NOT NULL;
CREATE INDEX agenda_by_expiry ON agenda (expires) WHERE expires IS NOT NULL;

-- The last token given out. Entries come and go, and tokens only grow.
CREATE TABLE agenda_tokens (last INTEGER NOT NULL) STRICT;
INSERT INTO agenda_tokens VALUES (0);
