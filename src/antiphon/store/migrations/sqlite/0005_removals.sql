-- How many responses of a project were ever removed: what a process knows of a chain stands while this does.
CREATE TABLE removals (
    project TEXT NOT NULL PRIMARY KEY,
    count INTEGER NOT NULL
) STRICT;

-- A trigger, so that no statement, and no older release beside this one, can remove without being counted.
CREATE TRIGGER responses_removed AFTER DELETE ON responses BEGIN
    INSERT INTO removals (project, count) VALUES (OLD.project, 1)
    ON CONFLICT (project) DO UPDATE SET count = count + 1;
END;
