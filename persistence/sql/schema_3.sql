-- Schema 3: who changed what by hand, and when. One row for each change that a person made through the
-- command line or the console; at is in microseconds, command is as it was typed.

CREATE TABLE callboard_audit (
    number INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    command TEXT NOT NULL
) STRICT;
