"""What the processes of a study have done, and where they are to wait (see hook/sitecustomize)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

HOOK = Path(__file__).parent / "hook"


class Event(NamedTuple):
    """One line of the log."""

    kind: str
    digest: str
    number: int
    pid: int
    files: int = 0


@dataclass(frozen=True)
class Events:
    """The log of one study, over all its runs."""

    log: Path

    def all(self, *kinds: str, since: int = 0) -> list[Event]:
        """Events of some kinds in the order they happened, from a mark on."""
        return [event for event in list(self._read())[since:] if event.kind in kinds]

    def rounds(self, since: int = 0) -> list[tuple[str, int]]:
        """The rounds that were begun: (digest of the configuration, round)."""
        return [(event.digest, event.number) for event in self.all("round", since=since)]

    def mark(self) -> int:
        """Where the log ends now."""
        return sum(1 for _ in self._read())

    def hold(self, kind: str, count: int) -> None:
        """Whoever makes the `count`th different event of a kind, or a later one, waits there.

        A process that waits for an earlier moment goes on.
        """
        temporary = self.log.with_name("hold.new")
        temporary.write_text(f"{kind} {count}")
        temporary.replace(f"{self.log}.hold")  # never half-written

    def release(self) -> None:
        """Nobody waits any more."""
        Path(f"{self.log}.hold").unlink(missing_ok=True)

    def _read(self) -> Iterator[Event]:
        if not self.log.exists():
            return
        for line in self.log.read_text().splitlines():
            kind, digest, number, pid, *files = line.split()
            yield Event(kind, digest, int(number), int(pid), *map(int, files))

    @property
    def environment(self) -> dict[str, str]:
        """Makes a process write this log."""
        paths = filter(None, (str(HOOK), os.environ.get("PYTHONPATH")))
        return {"FAULTS_LOG": str(self.log), "PYTHONPATH": os.pathsep.join(paths)}
