-- Version 2: autoscalers. Times are microseconds since 1970; bodies are JSON.

-- Part of the projection of the ledger; emptied and replayed by a rebuild.
CREATE TABLE autoscalers (
    project     TEXT NOT NULL,
    environment TEXT NOT NULL,
    body        TEXT NOT NULL,
    PRIMARY KEY (project, environment)
) STRICT, WITHOUT ROWID;

-- The wish that was made last, fulfilled or not.
CREATE TABLE wishes (
    project     TEXT NOT NULL,
    environment TEXT NOT NULL,
    body        TEXT NOT NULL,
    PRIMARY KEY (project, environment)
) STRICT, WITHOUT ROWID;

-- Beside the projection: what scalers say of an autoscaler. It goes when the autoscaler is deleted.
CREATE TABLE autoscaler_states (
    project     TEXT NOT NULL,
    environment TEXT NOT NULL,
    fence       INTEGER NOT NULL,
    body        TEXT NOT NULL,
    PRIMARY KEY (project, environment)
) STRICT;

CREATE TABLE autoscaler_decisions (
    project     TEXT NOT NULL,
    environment TEXT NOT NULL,
    number      INTEGER NOT NULL, -- from 1, without gaps; the newest stays, so that none is given twice
    body        TEXT NOT NULL,
    PRIMARY KEY (project, environment, number)
) STRICT;

CREATE TABLE autoscaler_observed (
    project     TEXT NOT NULL,
    environment TEXT NOT NULL,
    last        INTEGER NOT NULL, -- number of its last observation, counted from 1
    newest      INTEGER NOT NULL, -- time of its newest observation
    body        TEXT NOT NULL,    -- its observations, a JSON array
    PRIMARY KEY (project, environment, last)
) STRICT;

-- The scalers that are there.
CREATE TABLE scalers (
    name    TEXT PRIMARY KEY,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
