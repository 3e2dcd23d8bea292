"""Writes segments and an index as a shim does, for tests of those who read them."""

import struct
from pathlib import Path

_RECORD = struct.Struct("<QqqIBBH")
DATA, START, EXIT, GAP, ROTATED = range(5)


class LogWriter:
    """One log. Times are seconds since the epoch, and go on by what the test says."""

    def __init__(self, path: Path, now: float = 1_000_000.0) -> None:
        self.path = path
        self.now = now
        self.offset = 0
        self.run = 0
        self._base = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        self._index = path.parent / ".index" / path.name.removesuffix(".log")
        self._index.parent.mkdir(exist_ok=True)
        self._index.touch()

    def write(self, data: bytes) -> None:
        """Append bytes that arrive now."""
        with self.path.open("ab") as file:
            file.write(data)
        self.record(DATA)
        self.offset += len(data)

    def start(self) -> None:
        """Begin the next run."""
        self.run += 1
        self.record(START)

    def exit(self, code: int = 0, signal: int = 0) -> None:
        """End the run."""
        self.record(EXIT, 0 if signal else code, signal)

    def rotate(self) -> None:
        """Begin a new segment."""
        stem = self.path.name.removesuffix(".log")
        self.path.rename(self.path.with_name(f"{stem}.{self._base}.log"))
        self.path.touch()
        self._base = self.offset
        self.record(ROTATED)

    def prune(self, start: int) -> None:
        """Delete the rotated segment that begins at an offset."""
        stem = self.path.name.removesuffix(".log")
        self.path.with_name(f"{stem}.{start}.log").unlink()

    def record(self, kind: int, a: int = 0, b: int = 0) -> None:
        """Append a record to the index."""
        wall_ns = int(self.now * 1e9)
        with self._index.open("ab") as file:
            file.write(_RECORD.pack(self.offset, wall_ns, wall_ns, self.run, kind, a, b))
