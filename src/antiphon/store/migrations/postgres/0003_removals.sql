-- How many responses of a project were ever removed: what a process knows of a chain stands while this does.
CREATE TABLE removals (
    project TEXT NOT NULL PRIMARY KEY,
    count BIGINT NOT NULL
);

CREATE FUNCTION count_removals() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO removals (project, count)
    SELECT project, count(*) FROM removed GROUP BY project ORDER BY project
    ON CONFLICT (project) DO UPDATE SET count = removals.count + EXCLUDED.count;
    RETURN NULL;
END $$;

-- A trigger, so that no statement, and no older release beside this one, can remove without being counted.
CREATE TRIGGER responses_removed AFTER DELETE ON responses
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION count_removals();
