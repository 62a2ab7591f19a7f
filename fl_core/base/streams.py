"""What a command prints never breaks its work: streams that are closed, broken or not Unicode.

A study works for hours, and its results are files. So a reader that goes away (`| head`, a pager
that is left), a terminal that is gone and a stream that was never there cost what would have been
printed, and nothing else: the work goes on to its end, and Ctrl-C ends it as ever. What a stream's
encoding does not know is printed in ASCII: `70.1 +- 0.3`.

Standard library only: every command of the project uses it.
"""

from __future__ import annotations

import codecs
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

#: What our texts use beyond ASCII.
PLAIN = {
    **{"±": "+-", "×": "x", "—": "-", "–": "-", "·": "-", "→": "->"},
    **{"…": "...", "†": "!", "α": "alpha"},
}
GONE = (errno.EPIPE, errno.EIO, errno.ECONNRESET, errno.ENOTCONN)
#: The warning of a command that works for hours.
UNREAD = "warning: nobody reads what is printed any more; the work goes on (Ctrl-C ends it)"


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """A codec's error handler: the character's twin in ASCII, or its number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    return "".join(PLAIN.get(c, f"\\u{ord(c):04x}") for c in characters), error.end


codecs.register_error("fl_core.ascii", _in_ascii)


class Steady:
    """A stream whose reader may go away: from then on it swallows what it is given.

    Everything but writing is the stream's own.
    """

    def __init__(self, stream: TextIO, warning: str = "") -> None:
        self._stream, self._warning = stream, warning

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """All of it, or nothing."""
        with self._gone():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """As of any stream."""
        with self._gone():
            self._stream.flush()

    @contextmanager
    def _gone(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # a full disk below a file is no such thing: that is an error
            if error.errno not in GONE:
                raise
            with suppress(OSError, ValueError):  # what is left in its buffer goes there, too
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            if self._warning:
                print(self._warning, file=sys.stderr, flush=True)
                self._warning = ""


@contextmanager
def steady(warning: str = "") -> Iterator[None]:
    """Standard output and error are such streams within. warning: a line on standard error, once
    nobody reads the output.
    """
    for number in range(3):  # else the next file that is opened is taken for the terminal
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    before = sys.stdout, sys.stderr
    for stream in filter(None, before):
        with suppress(AttributeError):  # no file's stream: a notebook's, a test's
            stream.reconfigure(errors="fl_core.ascii")
    sys.stdout, sys.stderr = _steady(before[0], warning), _steady(before[1])
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before


def _steady(stream: TextIO | None, warning: str = "") -> TextIO:
    """None: Python's word for a closed one."""
    return open(os.devnull, "w") if stream is None else cast(TextIO, Steady(stream, warning))
