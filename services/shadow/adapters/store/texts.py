"""The texts of samples that wait and of examples, in chunks of one size that are overwritten in their place.

Deleting rows is not enough to be rid of them, `secure_delete` or not: when SQLite balances its pages it moves
rows that live, and what they leave behind stays (one text of 14,000, measured). A row that is replaced by one
of the same size does not move, and neither does its neighbour.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from services.shadow.adapters.store.tables import CHUNK_BYTES


def put_text(db: sqlite3.Connection, text: bytes) -> str:
    """Writes a text, in the transaction that is open. Gives its place."""
    pieces = [text[at : at + CHUNK_BYTES] for at in range(0, len(text), CHUNK_BYTES)]
    places = [
        row[0] for row in db.execute("SELECT chunk_id FROM free_chunk LIMIT ?", (len(pieces),)).fetchall()
    ]
    db.executemany("DELETE FROM free_chunk WHERE chunk_id = ?", [(place,) for place in places])
    for number, piece in enumerate(pieces):
        data = piece.ljust(CHUNK_BYTES, b"\0")
        if number < len(places):
            db.execute("UPDATE chunk SET data = ? WHERE chunk_id = ?", (data, places[number]))
        else:
            places.append(db.execute("INSERT INTO chunk (data) VALUES (?)", (data,)).lastrowid)
    return f"{len(text)}:{','.join(map(str, places))}"


def get_text(db: sqlite3.Connection, place: str) -> bytes:
    """Reads it."""
    size, chunks = _split(place)
    read = (db.execute("SELECT data FROM chunk WHERE chunk_id = ?", (chunk,)).fetchone() for chunk in chunks)
    return b"".join(row[0] for row in read)[:size]


def wipe_text(db: sqlite3.Connection, place: str) -> None:
    """Writes zeros over it, in the transaction that is open. The file keeps its size for the next ones."""
    _, chunks = _split(place)
    nothing = bytes(CHUNK_BYTES)
    db.executemany("UPDATE chunk SET data = ? WHERE chunk_id = ?", [(nothing, chunk) for chunk in chunks])
    db.executemany("INSERT INTO free_chunk VALUES (?)", [(chunk,) for chunk in chunks])


def _split(place: str) -> tuple[int, Sequence[int]]:
    size, _, chunks = place.partition(":")
    return int(size), [int(chunk) for chunk in chunks.split(",") if chunk]
