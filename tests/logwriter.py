"""Writes segments and an index as a shim does, for tests of those who read them."""

import random
import struct
import sys
import time
from collections.abc import Iterator
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
        for _ in self.rotate_slowly():
            pass

    def rotate_slowly(self) -> Iterator[None]:
        """Begin a new segment, step by step."""
        stem = self.path.name.removesuffix(".log")
        self.path.rename(self.path.with_name(f"{stem}.{self._base}.log"))
        yield
        self.path.touch()
        yield
        self._base = self.offset
        self.record(ROTATED)

    def cut_by_others(self, size: int = 0) -> None:
        """Truncate the file as somebody else does; the shim sees it before its next move."""
        with self.path.open("r+b") as file:
            file.truncate(size)

    def see_cut(self) -> None:
        """Do as the shim does when the file is shorter than it left it."""
        self._base = self.offset
        self.record(GAP, 0, 2)
        self.offset += self.path.stat().st_size

    def begin_anew(self) -> None:
        """Do as the shim does when the file was moved or removed by somebody else."""
        self.path.touch()
        self._base = self.offset
        self.record(ROTATED)

    def forget(self, oldest: int) -> None:
        """Drop the records about bytes before ``oldest``, but the newest start of a run there."""
        data = self._index.read_bytes()
        records = [data[at : at + 32] for at in range(0, len(data), 32)]
        old = [one for one in records if _RECORD.unpack(one)[0] < oldest]
        kept = [one for one in old if _RECORD.unpack(one)[4] == START][-1:]
        temporary = self._index.with_name("new")
        temporary.write_bytes(b"".join([*kept, *records[len(old) :]]))
        temporary.rename(self._index)

    def prune(self, start: int) -> None:
        """Delete the rotated segment that begins at an offset."""
        stem = self.path.name.removesuffix(".log")
        self.path.with_name(f"{stem}.{start}.log").unlink()

    def record(self, kind: int, a: int = 0, b: int = 0) -> None:
        """Append a record to the index."""
        wall_ns = int(self.now * 1e9)
        with self._index.open("ab") as file:
            file.write(_RECORD.pack(self.offset, wall_ns, wall_ns, self.run, kind, a, b))


def write_fast(path: Path, count: int, segment_bytes: int, keep: int) -> None:
    """Write numbered lines as fast as can be, in portions of any size, rotating and pruning."""
    rng = random.Random(7)
    writer = LogWriter(path)
    writer.now = time.time()
    writer.start()
    starts = [0]
    data = b"".join(b"line %d\n" % number for number in range(count))
    at = 0
    while at < len(data):
        size = rng.choice((1, 100, 5000, 60_000))
        writer.now = time.time()
        writer.write(data[at : at + size])
        at += size
        if path.stat().st_size > segment_bytes:
            writer.rotate()
            starts.append(writer.offset)
        if len(starts) > keep:
            writer.prune(starts.pop(0))
            writer.forget(starts[0])
    writer.exit()


if __name__ == "__main__":
    write_fast(Path(sys.argv[1]), *map(int, sys.argv[2:]))
