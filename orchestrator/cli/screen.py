"""Lines at the bottom of a terminal that are drawn over in place."""

import re
import shutil
from collections.abc import Sequence
from typing import TextIO

_SMALLEST = 3
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Screen:
    """Draws lines where it last drew; what is printed in between must come after ``clear``."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._shown: tuple[str, ...] = ()

    def draw(self, lines: Sequence[str]) -> None:
        """Show the lines in place of those before; nothing is written where nothing changed.

        More than fit on the screen cannot be drawn over: the last one says how many are left out.
        """
        size = shutil.get_terminal_size()
        height = max(_SMALLEST, size.lines - 2)
        # A line that wraps could not be drawn over.
        shown = tuple(_clipped(line, size.columns - 1) for line in lines[:height])
        if len(lines) > height:
            shown = (*shown[:-1], f"… and {len(lines) - height + 1} more")
        if shown != self._shown:
            self._write(self._up() + "".join(f"{line}\x1b[K\n" for line in shown) + "\x1b[J")
            self._shown = shown

    def clear(self) -> None:
        """Take the lines away; what is printed next stands in their place."""
        if self._shown:
            self._write(f"{self._up()}\x1b[J")
            self._shown = ()

    def _up(self) -> str:
        return f"\x1b[{len(self._shown)}A\r" if self._shown else ""

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def _clipped(line: str, width: int) -> str:
    """Return the first ``width`` characters of a line; colours take no place and all stay."""
    if len(line) <= width:
        return line
    pieces, left, at = [], width, 0
    for colour in _COLOUR.finditer(line):
        pieces += [line[at : colour.start()][:left], colour[0]]
        left -= len(pieces[-2])
        at = colour.end()
    return "".join([*pieces, line[at:][:left]])
