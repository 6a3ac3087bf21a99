"""A file as a stream of UTF-8 bytes: unpacked if it is gzip, and without a byte order mark."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from pathlib import Path

HEAD_BYTES = 256 * 1024
"""What the format is told by."""
MAX_RECORD_BYTES = 64 * 1024 * 1024
"""A longer line or JSON value is not read: memory stays bounded."""
CUT_OFF = "the file is cut off here; bring the whole file and import it again"
_GZIP = b"\x1f\x8b"
_READ_BYTES = 1024 * 1024
_UTF_16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


class Stream:
    """Reads a file once, from its beginning. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        """Opens it.

        Raises:
            OSError: the file can't be read.
        """
        self.total = path.stat().st_size
        """Bytes on disk."""
        self.problem = ""
        """Why the rest of the file could not be unpacked; empty if nothing was wrong."""
        self._file = path.open("rb")
        packed = self._file.peek(2)[:2] == _GZIP
        self._bytes: gzip.GzipFile | io.BufferedReader = (
            gzip.GzipFile(fileobj=self._file) if packed else self._file
        )
        self._decoder: codecs.IncrementalDecoder | None = None
        self._ahead = b""
        self._ended = False
        self._begin()

    @property
    def position(self) -> int:
        """Bytes of the file that were read, as it is on disk."""
        return min(self._file.tell(), self.total)

    def head(self) -> bytes:
        """The first bytes, which stay in the stream."""
        while len(self._ahead) < HEAD_BYTES and (more := self._next()):
            self._ahead += more
        return self._ahead[:HEAD_BYTES]

    def read(self, size: int = _READ_BYTES) -> bytes:
        """The next bytes, at least one of them; empty at the end."""
        while not self._ahead:
            more = self._next()
            if not more:
                return b""
            self._ahead = more
        found, self._ahead = self._ahead[:size], self._ahead[size:]
        return found

    def lines(self) -> Iterator[tuple[int, bytes | None]]:
        """The lines with their numbers from 1, without line ends; None for one that is too long to read.

        Only a line feed ends a line: U+2028 and its kind occur in prompts.
        """
        number, rest, too_long = 0, b"", False
        while chunk := self.read():
            parts = chunk.split(b"\n")
            parts[0] = rest + parts[0]
            rest = parts.pop()
            for part in parts:
                number += 1
                yield number, None if too_long or len(part) > MAX_RECORD_BYTES else part
                too_long = False
            if len(rest) > MAX_RECORD_BYTES:
                rest, too_long = b"", True
        if rest or too_long:
            yield number + 1, None if too_long else rest

    def close(self) -> None:
        """Closes the file."""
        self._bytes.close()
        self._file.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self) -> None:
        first = self._raw()
        for mark, name in _UTF_16.items():
            if first.startswith(mark):
                # What Windows' shells and spreadsheets write.
                self._decoder = codecs.getincrementaldecoder(name)("replace")
                first = self._decoder.decode(first[2:]).encode("utf-8", "replace")
        self._ahead = first.removeprefix(codecs.BOM_UTF8)

    def _next(self) -> bytes:
        while chunk := self._raw():
            if self._decoder is None:
                return chunk
            text = self._decoder.decode(chunk).encode("utf-8", "replace")
            if text:
                return text
        return b""

    def _raw(self) -> bytes:
        if self._ended:
            return b""
        try:
            # Not `read`, which forgets what it had when the file turns out to be cut off.
            chunk = self._bytes.read1(_READ_BYTES)
        except EOFError:
            self.problem, chunk = CUT_OFF, b""
        except (gzip.BadGzipFile, zlib.error) as error:
            self.problem = f"the rest of the file can't be unpacked ({error}); compress it again"
            chunk = b""
        self._ended = not chunk
        return chunk


def sha256_of(path: Path) -> str:
    """SHA-256 of a file as it is on disk, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
