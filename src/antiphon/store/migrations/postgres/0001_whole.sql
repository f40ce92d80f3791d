-- The database's clock in seconds, under the one name that both engines know. Stable, so that indexes are used.
CREATE FUNCTION now_s() RETURNS double precision LANGUAGE sql STABLE AS
    $$ SELECT extract(epoch FROM statement_timestamp())::double precision $$;

-- Responses with what only each contributed to its chain; bodies are moved out of the row.
CREATE TABLE responses (
    id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL,
    previous_response_id TEXT,
    status TEXT NOT NULL,
    model TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    body BYTEA NOT NULL,
    input BYTEA NOT NULL,
    turns BYTEA NOT NULL,
    -- Made in a conversation: the context began with that conversation's items before the position.
    conversation TEXT,
    conversation_position BIGINT
) WITH (toast_tuple_target = 128);
CREATE INDEX responses_by_expiry ON responses (expires_at) WHERE expires_at IS NOT NULL;

-- A run that is cut while its save is under way meters itself again: the first line of a response stands.
CREATE TABLE usage (
    response_id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL,
    key_id TEXT NOT NULL,
    model TEXT NOT NULL,
    target TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    status TEXT NOT NULL,
    input_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    cache_write_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL
);

CREATE TABLE projects (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);

CREATE TABLE keys (
    hash TEXT NOT NULL PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    project TEXT NOT NULL REFERENCES projects (id),
    hint TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);

-- Background responses that have no end yet: a row here is the right to write the one in `responses`.
CREATE TABLE background (
    id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL,
    key_id TEXT NOT NULL,
    request BYTEA NOT NULL,
    checkpoint BYTEA NOT NULL,
    queued_at DOUBLE PRECISION NOT NULL,
    lease_owner TEXT,
    lease_until DOUBLE PRECISION NOT NULL,
    attempts BIGINT NOT NULL,
    is_cancelled BIGINT NOT NULL
);
CREATE INDEX background_by_lease ON background (lease_until, queued_at);
CREATE INDEX background_by_owner ON background (lease_owner);
CREATE INDEX background_by_project ON background (project, lease_until);

-- Recorded events, a batch a row: JSON objects joined by newlines.
CREATE TABLE events (
    response_id TEXT NOT NULL,
    first BIGINT NOT NULL,
    count BIGINT NOT NULL,
    lines BYTEA NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (response_id, first)
);
CREATE INDEX events_by_expiry ON events (expires_at);

CREATE TABLE conversations (
    id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    metadata BYTEA NOT NULL,
    next_position BIGINT NOT NULL,
    holes TEXT NOT NULL,
    holder TEXT,
    held_until DOUBLE PRECISION NOT NULL
);

CREATE TABLE conversation_items (
    conversation TEXT NOT NULL,
    position BIGINT NOT NULL,
    id TEXT NOT NULL,
    body BYTEA NOT NULL,
    turn TEXT,
    turn_size BIGINT NOT NULL,
    record BYTEA,
    carried BYTEA,
    PRIMARY KEY (conversation, position),
    UNIQUE (conversation, id)
);
CREATE INDEX conversation_items_by_id ON conversation_items (id);

CREATE TABLE prompts (
    id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL,
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    default_version BIGINT NOT NULL,
    latest_version BIGINT NOT NULL
);
CREATE INDEX prompts_by_project ON prompts (project, created_at);

CREATE TABLE prompt_versions (
    prompt TEXT NOT NULL,
    version BIGINT NOT NULL,
    body BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (prompt, version)
);

CREATE TABLE webhook_endpoints (
    id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL,
    name TEXT NOT NULL,
    url TEXT NOT NULL,
    event_types TEXT NOT NULL,
    secret BYTEA NOT NULL,
    hint TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    old_secret BYTEA,
    old_until DOUBLE PRECISION
);
CREATE INDEX webhook_endpoints_by_project ON webhook_endpoints (project, created_at);

-- The outbox: written with the end of a response, emptied by a sender, kept for a while as the delivery log.
CREATE TABLE webhook_deliveries (
    id TEXT NOT NULL PRIMARY KEY,
    event_id TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    project TEXT NOT NULL,
    event_type TEXT NOT NULL,
    payload BYTEA NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    attempts BIGINT NOT NULL,
    next_at DOUBLE PRECISION NOT NULL,
    state TEXT NOT NULL,
    log BYTEA NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_at) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_by_endpoint ON webhook_deliveries (endpoint, id);
CREATE INDEX webhook_deliveries_by_expiry ON webhook_deliveries (expires_at);

CREATE TABLE idempotency (
    project TEXT NOT NULL,
    key TEXT NOT NULL,
    holder TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    held_until DOUBLE PRECISION NOT NULL,
    expires_at BIGINT NOT NULL,
    response_id TEXT,
    kind TEXT,
    answer BYTEA,
    PRIMARY KEY (project, key)
);
CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);
CREATE INDEX idempotency_by_response ON idempotency (response_id) WHERE response_id IS NOT NULL;

-- Projects that a key may act for beside its own.
CREATE TABLE key_projects (
    key_id TEXT NOT NULL,
    project TEXT NOT NULL REFERENCES projects (id),
    PRIMARY KEY (key_id, project)
);
