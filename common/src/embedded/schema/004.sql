-- Version 4: what scalers have learned of a load, beside the projection. It goes when the autoscaler is deleted.
CREATE TABLE autoscaler_learned (
    project     TEXT NOT NULL,
    environment TEXT NOT NULL,
    fence       INTEGER NOT NULL,
    body        TEXT NOT NULL,
    PRIMARY KEY (project, environment)
) STRICT;
