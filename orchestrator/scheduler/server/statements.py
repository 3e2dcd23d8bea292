"""The SQL of the store. Each function runs inside a transaction that the caller began."""

import sqlite3

from orchestrator.scheduler.server.moments import Moment
from orchestrator.scheduler.server.records import Record
from orchestrator.scheduler.values import STATUSES, Status, Target

VERSION = 1

# `due` is when to deliver; NULL while somebody is at it, and once nothing is left to do.
_TABLES = """
CREATE TABLE conversation (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    text TEXT NOT NULL,
    status INTEGER NOT NULL,
    scheduled INTEGER NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    due INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,
    target_id TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    method TEXT NOT NULL,
    headers_json TEXT,
    additional_info TEXT
) STRICT;
CREATE INDEX conversation_due ON conversation (due) WHERE due IS NOT NULL;
CREATE INDEX conversation_status ON conversation (status, number);
CREATE TABLE pulse (beats INTEGER NOT NULL) STRICT;
INSERT INTO pulse VALUES (0);
"""
_COLUMNS = (
    "id, text, status, scheduled, created, updated, target_id,"
    " endpoint, method, headers_json, additional_info, attempts"
)


def prepare(connection: sqlite3.Connection) -> None:
    """Make the tables, and due again what a kill caught on its way."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version not in (0, VERSION):
        raise sqlite3.DatabaseError(f"written by another version of this program ({version})")
    if version == 0:
        connection.executescript(f"BEGIN;{_TABLES}PRAGMA user_version = {VERSION};COMMIT;")
    connection.execute(
        "UPDATE conversation SET due = scheduled WHERE status = ? AND due IS NULL",
        (Status.IN_PROGRESS.number,),
    )


def insert(connection: sqlite3.Connection, record: Record) -> None:
    """Add a conversation, due at its time."""
    target = record.target
    connection.execute(
        f"INSERT INTO conversation ({_COLUMNS}, due) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",  # noqa: S608
        (
            record.id,
            record.text,
            record.status.number,
            record.scheduled.ticks,
            record.created_ticks,
            record.updated_ticks,
            record.target_id,
            target.endpoint,
            target.method,
            target.headers_json,
            target.additional_info,
            record.attempts,
            record.scheduled.ticks,
        ),
    )


def find(connection: sqlite3.Connection, conversation_id: str) -> Record | None:
    """Return one conversation, or None."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM conversation WHERE id = ?",  # noqa: S608
        (conversation_id,),
    ).fetchone()
    return _record(row) if row else None


def page(
    connection: sqlite3.Connection, status_number: int | None, limit: int, offset: int
) -> tuple[list[Record], int]:
    """Return some conversations, newest first, and the number of all with that status."""
    where, values = ("", ()) if status_number is None else ("WHERE status = ?", (status_number,))
    (total,) = connection.execute(
        f"SELECT count(*) FROM conversation {where}",  # noqa: S608
        values,
    ).fetchone()
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM conversation {where} ORDER BY number DESC LIMIT ? OFFSET ?",  # noqa: S608
        (*values, limit, offset),
    )
    return [_record(row) for row in rows], total


def cancel(connection: sqlite3.Connection, conversation_id: str, now_ticks: int) -> bool:
    """Cancel a conversation that is still scheduled, and tell whether it was."""
    changed = connection.execute(
        "UPDATE conversation SET status = ?, updated = ?, due = NULL WHERE id = ? AND status = ?",
        (Status.CANCELLED.number, now_ticks, conversation_id, Status.SCHEDULED.number),
    )
    return changed.rowcount == 1


def claim(
    connection: sqlite3.Connection, now_ticks: int, limit: int
) -> tuple[list[Record], int | None]:
    """Mark due conversations as being delivered and return them, with the next due time."""
    rows = connection.execute(
        f"SELECT number, {_COLUMNS} FROM conversation"  # noqa: S608
        " WHERE due <= ? ORDER BY due, number LIMIT ?",
        (now_ticks, limit),
    ).fetchall()
    connection.executemany(
        "UPDATE conversation SET status = ?, updated = ?, due = NULL, attempts = attempts + 1"
        " WHERE number = ?",
        [(Status.IN_PROGRESS.number, now_ticks, number) for number, *_ in rows],
    )
    (due,) = connection.execute(
        "SELECT min(due) FROM conversation WHERE due IS NOT NULL"
    ).fetchone()
    return [_record(row[1:]) for row in rows], due


def finish(
    connection: sqlite3.Connection, conversation_id: str, status: Status, now_ticks: int
) -> None:
    """Write down how a delivery ended."""
    connection.execute(
        "UPDATE conversation SET status = ?, updated = ?, due = NULL WHERE id = ? AND status = ?",
        (status.number, now_ticks, conversation_id, Status.IN_PROGRESS.number),
    )


def postpone(connection: sqlite3.Connection, conversation_id: str, due_ticks: int) -> None:
    """Have a conversation that is being delivered tried again."""
    connection.execute(
        "UPDATE conversation SET due = ? WHERE id = ? AND status = ?",
        (due_ticks, conversation_id, Status.IN_PROGRESS.number),
    )


def check(connection: sqlite3.Connection) -> None:
    """Read and write something."""
    connection.execute("SELECT max(number) FROM conversation").fetchone()
    connection.execute("UPDATE pulse SET beats = beats + 1")


def _record(row: tuple[str, ...]) -> Record:
    (identity, text, status, scheduled, created, updated, target_id, *rest) = row
    endpoint, method, headers_json, additional_info, attempts = rest
    return Record(
        id=identity,
        text=text,
        status=STATUSES[int(status)],
        scheduled=Moment(int(scheduled), "none"),
        created_ticks=int(created),
        updated_ticks=int(updated),
        target_id=target_id,
        target=Target(endpoint, method, headers_json, additional_info),
        attempts=int(attempts),
    )
