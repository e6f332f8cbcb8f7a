-- Schema 4: what a mailbox with retain= keeps of its actors' states: a row for each change.

-- at: when it became the actor's state; upto: when the next one did, null: it is still the one.
-- kind, version, body: null where it was reset. by: 'message', 'ask' or 'hand'. until: as for
-- callboard_done, but counted from upto on: so what was the state at an instant is kept as long as
-- what was handled then.
CREATE TABLE callboard_past (
    number INTEGER PRIMARY KEY,
    mailbox INTEGER NOT NULL,
    key TEXT NOT NULL,
    at INTEGER NOT NULL,
    upto INTEGER,
    by TEXT NOT NULL,
    message INTEGER,
    kind TEXT,
    version INTEGER,
    body BLOB,
    until INTEGER
) STRICT;
CREATE INDEX callboard_past_actor ON callboard_past (mailbox, key, number);
CREATE INDEX callboard_past_until ON callboard_past (until) WHERE until IS NOT NULL;
