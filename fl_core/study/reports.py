"""What a worker reports of its job, and how that travels as text.

A job reports its evaluations one by one. Trouble that is no fault of its own ends it for now:
`Aborted`, until the user has repaired something, or `OutOfMemory`, until it has the machine to
itself. `Failed` is an error of its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from fl_core.config.record import Record


@dataclass(frozen=True)
class Evaluated:
    """One evaluation; of an ended job the last has `finished` in its record."""

    record: Record


@dataclass(frozen=True)
class Aborted:
    """No job can go on before the user has repaired something, such as a full disk."""

    reason: str


@dataclass(frozen=True)
class OutOfMemory:
    """The memory that its share of the machine has was not enough."""


@dataclass(frozen=True)
class Failed:
    """The job raised an error, or its worker died."""

    details: str  # a traceback; its last line says it all


Report = Evaluated | Aborted | OutOfMemory | Failed
_KINDS = {kind.__name__: kind for kind in (Evaluated, Aborted, OutOfMemory, Failed)}


def to_json(report: Report) -> str:
    """As text."""
    return json.dumps({"kind": type(report).__name__, **vars(report)})


def from_json(text: str) -> Report:
    """The inverse of `to_json`.

    >>> from_json(to_json(Aborted("the disk is full")))
    Aborted(reason='the disk is full')
    """
    fields = json.loads(text)
    report: Report = _KINDS[fields.pop("kind")](**fields)
    return report
