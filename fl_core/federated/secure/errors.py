"""What can go wrong in a secure sum."""

from __future__ import annotations

from collections.abc import Mapping


class ProtocolError(Exception):
    """A message that no honest party sends, or a step that an honest party refuses."""


class TooFewSurvivors(Exception):
    """Fewer clients than the threshold got through a step: the sum cannot be unmasked.

    answered: how many did; needed: the threshold; step: what they were to do. up, down: bytes that
    were sent until then, as in `SecureSum`.
    """

    up: Mapping[int, Mapping[str, int]]
    down: Mapping[int, Mapping[str, int]]

    def __init__(self, step: str, answered: int, needed: int) -> None:
        super().__init__(
            f"secure aggregation: {answered} clients {step}, {needed} are needed (the threshold)"
        )
        self.step, self.answered, self.needed = step, answered, needed
        self.up, self.down = {}, {}
