-- Schema 1. A new store is made from this and the scripts that follow; migrations.py adds what an
-- older one lacks.
-- All instants are microseconds since 1970, UTC. All names begin with callboard_, because this may
-- be the user's own database.

CREATE TABLE callboard_meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One row. last: the newest message number. epoch: raised by each new owner; it fences the old one.
-- changes: raised by what a client does that is no message (pause, requeue), so that the owner looks.
CREATE TABLE callboard_counter (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    last INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    changes INTEGER NOT NULL
) STRICT;
INSERT INTO callboard_counter VALUES (1, 0, 0, 0);

CREATE TABLE callboard_mailbox (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    paused INTEGER NOT NULL DEFAULT 0,
    declaration TEXT NOT NULL
) STRICT;

-- A message that waits. A timer is a message that is not yet due, a retry one that was tried before.
CREATE TABLE callboard_message (
    number INTEGER PRIMARY KEY,
    mailbox INTEGER NOT NULL,
    kind TEXT NOT NULL,
    version INTEGER NOT NULL,
    key TEXT,
    body BLOB NOT NULL,
    due INTEGER,
    name TEXT,
    told_at INTEGER NOT NULL,
    cause INTEGER,
    sender TEXT,
    headers TEXT,
    retain INTEGER,
    priority INTEGER NOT NULL DEFAULT 0,
    expires_at INTEGER,
    retry_at INTEGER,
    attempt INTEGER NOT NULL DEFAULT 0,
    deliveries INTEGER NOT NULL DEFAULT 0,
    error TEXT
) STRICT;

CREATE INDEX callboard_message_waiting ON callboard_message (mailbox, priority DESC, number, key)
    WHERE due IS NULL;
-- One index of due rows serves both the timers and the paging of a mailbox: a second one, over
-- (due, number), would halve the rate at which future calls are told and handled.
CREATE INDEX callboard_message_due ON callboard_message (mailbox, due, number, key)
    WHERE due IS NOT NULL;
CREATE UNIQUE INDEX callboard_message_name ON callboard_message (mailbox, name)
    WHERE name IS NOT NULL;

CREATE TABLE callboard_dead (
    number INTEGER PRIMARY KEY,
    mailbox INTEGER NOT NULL,
    kind TEXT NOT NULL,
    version INTEGER NOT NULL,
    key TEXT,
    body BLOB NOT NULL,
    due INTEGER,
    name TEXT,
    told_at INTEGER NOT NULL,
    cause INTEGER,
    sender TEXT,
    headers TEXT,
    retain INTEGER,
    priority INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    error TEXT NOT NULL,
    traceback TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    failed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX callboard_dead_mailbox ON callboard_dead (mailbox, number);

-- The state of one actor: key is '' where the mailbox is not keyed.
CREATE TABLE callboard_state (
    mailbox INTEGER NOT NULL,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    version INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (mailbox, key)
) STRICT, WITHOUT ROWID;
