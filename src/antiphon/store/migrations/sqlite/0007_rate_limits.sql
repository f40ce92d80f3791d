-- When each of a project's limits is full again, in seconds of the database's clock (decision 0029).
CREATE TABLE rate_limits (
    project TEXT NOT NULL,
    kind TEXT NOT NULL,
    full_at REAL NOT NULL,
    PRIMARY KEY (project, kind)
) STRICT, WITHOUT ROWID;
