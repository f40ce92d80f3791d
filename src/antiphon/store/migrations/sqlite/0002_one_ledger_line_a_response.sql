-- A run that is cut while its save is under way meters itself again: the first line of a response stands.
CREATE TABLE ledger (
    response_id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL,
    key_id TEXT NOT NULL,
    model TEXT NOT NULL,
    target TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    status TEXT NOT NULL,
    input_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT OR IGNORE INTO ledger SELECT * FROM usage ORDER BY rowid;
DROP TABLE usage;
ALTER TABLE ledger RENAME TO usage;
