-- How often keys were changed or removed: while this stands, every key that was let in is good (decision 0031).
CREATE TABLE key_changes (
    one bigint NOT NULL PRIMARY KEY CHECK (one = 1),
    count bigint NOT NULL
);
INSERT INTO key_changes (one, count) VALUES (1, 0);

CREATE FUNCTION count_key_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE key_changes SET count = count + 1 WHERE one = 1;
    RETURN NULL;
END $$;

-- A trigger, so that no statement, and no older release beside this one, can change a key without being counted.
CREATE TRIGGER keys_changed AFTER UPDATE OR DELETE ON keys
    FOR EACH STATEMENT EXECUTE FUNCTION count_key_changes();
