-- When each of a project's limits is full again, in seconds of the database's clock (decision 0029).
CREATE TABLE rate_limits (
    project text NOT NULL,
    kind text NOT NULL,
    full_at double precision NOT NULL,
    PRIMARY KEY (project, kind)
);
