"""What a mode of timing gives: the clients whose updates the server steps with."""

from __future__ import annotations

from typing import NamedTuple

from fl_core.federated.selection import Selection


class Turnout(NamedTuple):
    """One step of the server: who its updates are of.

    chosen: the clients whose updates arrive.
    """

    chosen: Selection
