-- A response made in a conversation: its context began with that conversation's items before the position.
ALTER TABLE responses ADD COLUMN conversation TEXT;
ALTER TABLE responses ADD COLUMN conversation_position INTEGER;

-- Background responses that have no end yet: a row here is the right to write the one in `responses`.
CREATE TABLE background (
    id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL,
    key_id TEXT NOT NULL,
    request BLOB NOT NULL,
    checkpoint BLOB NOT NULL,
    queued_at REAL NOT NULL,
    lease_owner TEXT,
    lease_until REAL NOT NULL,
    attempts INTEGER NOT NULL,
    is_cancelled INTEGER NOT NULL
) STRICT;
CREATE INDEX background_by_lease ON background (lease_until, queued_at);
CREATE INDEX background_by_owner ON background (lease_owner);
CREATE INDEX background_by_project ON background (project, lease_until);

-- Recorded events, a batch a row: JSON objects joined by newlines.
CREATE TABLE events (
    response_id TEXT NOT NULL,
    first INTEGER NOT NULL,
    count INTEGER NOT NULL,
    lines BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (response_id, first)
) STRICT;
CREATE INDEX events_by_expiry ON events (expires_at);

CREATE TABLE conversations (
    id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    metadata BLOB NOT NULL,
    next_position INTEGER NOT NULL,
    holes TEXT NOT NULL,
    holder TEXT,
    held_until REAL NOT NULL
) STRICT;

CREATE TABLE conversation_items (
    conversation TEXT NOT NULL,
    position INTEGER NOT NULL,
    id TEXT NOT NULL,
    body BLOB NOT NULL,
    turn TEXT,
    turn_size INTEGER NOT NULL,
    record BLOB,
    carried BLOB,
    PRIMARY KEY (conversation, position),
    UNIQUE (conversation, id)
) STRICT;
CREATE INDEX conversation_items_by_id ON conversation_items (id);

CREATE TABLE prompts (
    id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL,
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    default_version INTEGER NOT NULL,
    latest_version INTEGER NOT NULL
) STRICT;
CREATE INDEX prompts_by_project ON prompts (project, created_at);

CREATE TABLE prompt_versions (
    prompt TEXT NOT NULL,
    version INTEGER NOT NULL,
    body BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (prompt, version)
) STRICT;

CREATE TABLE webhook_endpoints (
    id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL,
    name TEXT NOT NULL,
    url TEXT NOT NULL,
    event_types TEXT NOT NULL,
    secret BLOB NOT NULL,
    hint TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    old_secret BLOB,
    old_until REAL
) STRICT;
CREATE INDEX webhook_endpoints_by_project ON webhook_endpoints (project, created_at);

-- The outbox: written with the end of a response, emptied by a sender, kept for a while as the delivery log.
CREATE TABLE webhook_deliveries (
    id TEXT NOT NULL PRIMARY KEY,
    event_id TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    project TEXT NOT NULL,
    event_type TEXT NOT NULL,
    payload BLOB NOT NULL,
    created_at REAL NOT NULL,
    attempts INTEGER NOT NULL,
    next_at REAL NOT NULL,
    state TEXT NOT NULL,
    log BLOB NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_at) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_by_endpoint ON webhook_deliveries (endpoint, id);
CREATE INDEX webhook_deliveries_by_expiry ON webhook_deliveries (expires_at);

CREATE TABLE idempotency (
    project TEXT NOT NULL,
    key TEXT NOT NULL,
    holder TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    held_until REAL NOT NULL,
    expires_at INTEGER NOT NULL,
    response_id TEXT,
    kind TEXT,
    answer BLOB,
    PRIMARY KEY (project, key)
) STRICT;
CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);
CREATE INDEX idempotency_by_response ON idempotency (response_id) WHERE response_id IS NOT NULL;

-- Projects that a key may act for beside its own.
CREATE TABLE key_projects (
    key_id TEXT NOT NULL,
    project TEXT NOT NULL REFERENCES projects (id),
    PRIMARY KEY (key_id, project)
) STRICT, WITHOUT ROWID;
