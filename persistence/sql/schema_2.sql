-- Schema 2: schedules, names that are not told again, handled messages that are kept, the progress
-- of running ones, how full a mailbox is, and how often one that is limited has started handlers.

CREATE INDEX callboard_message_expires ON callboard_message (mailbox, expires_at)
    WHERE expires_at IS NOT NULL;

-- options: missed, overlap, jitter, ... as JSON. message: body of a fixed message; null: a tick.
-- last_number: the message of the last tick. zone: of which zone data next_at was reckoned.
CREATE TABLE callboard_schedule (
    name TEXT PRIMARY KEY,
    expression TEXT NOT NULL,
    tz TEXT NOT NULL,
    mailbox TEXT NOT NULL,
    options TEXT NOT NULL,
    message BLOB,
    next_at INTEGER,
    last_at INTEGER,
    last_number INTEGER,
    paused INTEGER NOT NULL DEFAULT 0,
    zone TEXT NOT NULL,
    declared_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Until when a caller's id is not told again (dedupe), whether it was handled or not.
CREATE TABLE callboard_told (
    mailbox INTEGER NOT NULL,
    name TEXT NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (mailbox, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX callboard_told_until ON callboard_told (until);

-- A handled message of a mailbox that retains them. took: microseconds.
CREATE TABLE callboard_done (
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
    priority INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    handled_at INTEGER NOT NULL,
    took INTEGER NOT NULL,
    result BLOB,
    until INTEGER NOT NULL
) STRICT;
CREATE INDEX callboard_done_until ON callboard_done (until);
CREATE INDEX callboard_done_mailbox ON callboard_done (mailbox, number);
CREATE INDEX callboard_done_name ON callboard_done (name) WHERE name IS NOT NULL;

CREATE TABLE callboard_progress (
    number INTEGER PRIMARY KEY,
    fraction REAL NOT NULL,
    note TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;

-- One row for each mailbox with a capacity: its waiting messages without a deadline, and retries.
-- Triggers keep it, whoever writes; they are made with the first capacity that is declared.
CREATE TABLE callboard_level (
    mailbox INTEGER PRIMARY KEY,
    held INTEGER NOT NULL
) STRICT;

-- Starts that a limited mailbox has reserved: so many, from then on until its next row.
CREATE TABLE callboard_rate (
    mailbox INTEGER NOT NULL,
    at INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (mailbox, at)
) STRICT, WITHOUT ROWID;
