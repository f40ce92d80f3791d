-- What responses echo of their requests and many have in common, stored once: decision 0030.
CREATE TABLE echoes (
    project text NOT NULL,
    hash bytea NOT NULL,
    used_at double precision NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (project, hash)
);
CREATE INDEX echoes_by_use ON echoes (used_at);

-- What a response's body lacks of them. No columns of the response: an index on them would read every row there is.
CREATE TABLE response_echoes (
    response_id text NOT NULL PRIMARY KEY,
    project text NOT NULL,
    instructions_hash bytea,
    tools_hash bytea
);
CREATE INDEX response_echoes_by_instructions ON response_echoes (project, instructions_hash)
    WHERE instructions_hash IS NOT NULL;
CREATE INDEX response_echoes_by_tools ON response_echoes (project, tools_hash) WHERE tools_hash IS NOT NULL;

CREATE FUNCTION forget_echoes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM response_echoes e USING removed r WHERE e.response_id = r.id;
    RETURN NULL;
END $$;
CREATE TRIGGER response_echoes_removed AFTER DELETE ON responses
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION forget_echoes();
