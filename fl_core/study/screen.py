"""How a study's command prints: one console, what it is doing before the first trial runs.

In a terminal the last line is alive; elsewhere (a pipe, a file, a notebook) every line is plain
text that stays. Texts are shown as they are: an arm's value or an error may look like markup.
"""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.status import Status


def console() -> Console:
    """For what a study shows: rich without markup, emoji codes and guesses at highlighting."""
    live = False if Console().is_jupyter else None  # a kernel's stdout calls itself a terminal
    return Console(
        markup=False, emoji=False, highlight=False, force_jupyter=False, force_terminal=live
    )


def say(line: str) -> None:
    """One line, whatever its length: it is wrapped by the terminal, and nowhere else."""
    console().print(line, soft_wrap=True)


class Doing:
    """What a study is doing while nothing else can be seen. As a context manager it stops saying
    it; so does `done`.
    """

    def __init__(self) -> None:
        self._console = console()
        self._status: Status | None = None

    def __enter__(self) -> Doing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.done()

    def __call__(self, what: str) -> None:
        """From now on it is doing this."""
        if not self._console.is_terminal:
            self._console.print(f"{what} ...", soft_wrap=True)
        elif self._status is None:
            self._status = self._console.status(what)
            self._status.start()
        else:
            self._status.update(what)

    def done(self) -> None:
        """Nothing more is to be said."""
        if self._status is not None:
            self._status.stop()
            self._status = None
