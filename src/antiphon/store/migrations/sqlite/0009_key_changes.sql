-- How often keys were changed or removed: while this stands, every key that was let in is good (decision 0031).
CREATE TABLE key_changes (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    count INTEGER NOT NULL
) STRICT;
INSERT INTO key_changes (one, count) VALUES (1, 0);

-- Triggers, so that no statement, and no older release beside this one, can change a key without being counted.
CREATE TRIGGER keys_changed AFTER UPDATE ON keys BEGIN
    UPDATE key_changes SET count = count + 1 WHERE one = 1;
END;
CREATE TRIGGER keys_removed AFTER DELETE ON keys BEGIN
    UPDATE key_changes SET count = count + 1 WHERE one = 1;
END;
