"""Lines at the bottom of a terminal that are drawn over in place."""

import shutil
import sys
from collections.abc import Sequence

_SMALLEST = 3


class Screen:
    """Draws lines where it last drew; what is printed in between must come after ``clear``."""

    def __init__(self) -> None:
        self._shown: tuple[str, ...] = ()

    def draw(self, lines: Sequence[str]) -> None:
        """Show the lines in place of those before; nothing is written where nothing changed.

        More than fit on the screen cannot be drawn over: the last one says how many are left out.
        """
        height = max(_SMALLEST, shutil.get_terminal_size().lines - 2)
        shown = tuple(lines[:height])
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

    @staticmethod
    def _write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
