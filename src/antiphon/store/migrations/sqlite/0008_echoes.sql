-- What responses echo of their requests and many have in common, stored once: decision 0030.
CREATE TABLE echoes (
    project TEXT NOT NULL,
    hash BLOB NOT NULL,
    used_at REAL NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (project, hash)
) STRICT;
CREATE INDEX echoes_by_use ON echoes (used_at);

-- What a response's body lacks of them. No columns of the response: to add one, or an index, reads every row there is.
CREATE TABLE response_echoes (
    response_id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL,
    instructions_hash BLOB,
    tools_hash BLOB
) STRICT, WITHOUT ROWID;
CREATE INDEX response_echoes_by_instructions ON response_echoes (project, instructions_hash)
    WHERE instructions_hash IS NOT NULL;
CREATE INDEX response_echoes_by_tools ON response_echoes (project, tools_hash) WHERE tools_hash IS NOT NULL;

CREATE TRIGGER response_echoes_removed AFTER DELETE ON responses BEGIN
    DELETE FROM response_echoes WHERE response_id = OLD.id;
END;
