-- How many items of a conversation were ever removed: what a process knows of its items stands while this does.
ALTER TABLE conversations ADD COLUMN removals INTEGER NOT NULL DEFAULT 0;

-- A trigger, so that no statement, and no older release beside this one, can remove without being counted.
CREATE TRIGGER conversation_items_removed AFTER DELETE ON conversation_items BEGIN
    UPDATE conversations SET removals = removals + 1 WHERE id = OLD.conversation;
END;
