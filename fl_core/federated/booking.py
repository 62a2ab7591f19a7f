"""Messages of a round as a ledger sees them: how long, in which encoding, and booked in totals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fl_core.federated.messages import COMPARED, ENCODINGS, HEADER, cheapest
from fl_core.federated.update import Traffic

ANSWER = 4  # bytes of what a client says that is asked: one float32
ANSWERED = HEADER + ANSWER  # of the message
NUMBER = 4  # bytes of what a client is told beside the model: how many steps, how large a batch


class Message(NamedTuple):
    """One message: its length as sent, and in every encoding that is compared."""

    encoding: str
    sent: int  # bytes
    lengths: Mapping[str, int]  # in the encodings compared

    def heavier(self, mask: int, beside: int) -> Message:
        """With a mask, which a comparison has no need of, and something else, which it has."""
        lengths = {name: length + beside for name, length in self.lengths.items()}
        return Message(self.encoding, self.sent + mask + beside, lengths)


class Parcel(NamedTuple):
    """The messages of a client's turn."""

    down: list[Message]
    up: list[Message]

    @property
    def bytes_down(self) -> int:
        """As sent."""
        return sum(message.sent for message in self.down)

    @property
    def bytes_up(self) -> int:
        """As sent."""
        return sum(message.sent for message in self.up)

    def beside(self, exchanged: Exchanged) -> Parcel:
        """With these messages of a protocol."""
        return Parcel([*self.down, bare(exchanged.down)], [*self.up, bare(exchanged.up)])


class Exchanged(NamedTuple):
    """Bytes of one client's messages in a protocol beside its update."""

    up: int = 0
    down: int = 0


class Broken(NamedTuple):
    """A turn without an update: what would have been sent, and the share of it that was."""

    traffic: Traffic
    down: float
    up: float


class Torn(NamedTuple):
    """Messages of one way, of which a share of the bytes was sent, for nothing."""

    messages: Sequence[Message]
    share: float

    def of(self, length: float) -> int:
        """Whole bytes that were sent of so many."""
        return int(self.share * length)


def booked(
    totals: Mapping[str, float],
    down: Sequence[Message],
    up: Sequence[Message],
    *,
    compared: bool,
    torn_down: Sequence[Torn] = (),
    torn_up: Sequence[Torn] = (),
) -> dict[str, float]:
    """New totals after a round with these messages; the old may be part of a checkpoint.

    compared: whether the same traffic is counted in every encoding, too. torn: what was sent for
    nothing: it counts as sent and as lost, byte by byte, but as no message.
    """
    found = dict(totals)
    for way, messages, torn in (("down", down, torn_down), ("up", up, torn_up)):
        lost = sum(one.of(sum(message.sent for message in one.messages)) for one in torn)
        found["bytes_lost"] += lost
        found[f"bytes_{way}_round"] = float(sum(message.sent for message in messages) + lost)
        found[f"bytes_{way}_main"] += found[f"bytes_{way}_round"]
        for message in messages if compared else ():
            found[f"messages_{way}_{message.encoding}"] += 1
        for encoding in COMPARED if compared else ():
            found[f"bytes_{way}_{encoding}"] += sum(m.lengths[encoding] for m in messages)
            found[f"bytes_{way}_{encoding}"] += sum(
                one.of(sum(message.lengths[encoding] for message in one.messages)) for one in torn
            )
    return found


def total_names(scope: str | None, hidden: bool = False) -> list[str]:
    """The names of a ledger's totals. hidden: where clients exchange more to hide their updates."""
    plain = [f"bytes_{way}_{part}" for way in ("up", "down") for part in ("main", "round")]
    plain.append("bytes_lost")
    plain += [f"bytes_{way}_protocol" for way in ("up", "down")] if hidden else []
    if scope is None:
        return plain
    ways = [f"bytes_{way}_{name}" for way in ("up", "down") for name in COMPARED]
    return plain + ways + [f"messages_{way}_{e}" for way in ("up", "down") for e in ENCODINGS]


def with_more(first: Message, more: int, lengths: Mapping[str, int]) -> list[Message]:
    """The message, and `more` vectors of the same entries, whose positions are known by then."""
    if not more:
        return [first]
    values = lengths["values"]
    return [first, *[Message("values", values, dict.fromkeys(COMPARED, values))] * more]


def bare(size: int) -> Message:
    """So many bytes and no header."""
    return Message("dense", size, dict.fromkeys(COMPARED, size))


def opaque(size: int) -> Message:
    """Anything else of so many bytes."""
    return bare(HEADER + size)


def numbers_told(count: int) -> list[Message]:
    """What a client is told beside the model, in one message; none of no numbers."""
    return [opaque(NUMBER * count)] if count else []


def shortest(lengths: Mapping[str, int], choices: Sequence[str]) -> Message:
    """In the shortest of these encodings."""
    encoding = cheapest({name: lengths[name] for name in choices})
    return Message(encoding, lengths[encoding], lengths)
