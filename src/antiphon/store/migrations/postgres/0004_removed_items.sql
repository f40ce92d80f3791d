-- How many items of a conversation were ever removed: what a process knows of its items stands while this does.
ALTER TABLE conversations ADD COLUMN removals BIGINT NOT NULL DEFAULT 0;

CREATE FUNCTION count_removed_items() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE conversations SET removals = removals + of_one.items
    FROM (SELECT conversation, count(*) AS items FROM removed GROUP BY conversation) of_one
    WHERE conversations.id = of_one.conversation;
    RETURN NULL;
END $$;

-- A trigger, so that no statement, and no older release beside this one, can remove without being counted.
CREATE TRIGGER conversation_items_removed AFTER DELETE ON conversation_items
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION count_removed_items();
