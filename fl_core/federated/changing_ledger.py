"""What is sent where masks change from round to round, in bytes, each way.

As in `ledger`, whose encodings and comparisons these are; but what a client lacks is told by the
round that it last had the parameters of:

* C, the entries that have changed since, comes with its positions, or as values alone where C lies
  within what the client knows to be active: its mask of the coming round, and the one it had when
  it last took part. At its first download a client is sent the whole vector.
* A shared mask that is not the one that the client has comes as a message: whole, or the entries
  that enter and leave it, whichever is shorter. (The latter since the last calibration alone: the
  server keeps no older mask.)
* A client's own mask it makes itself: when masks are calibrated anew, on the parameters that it is
  sent then, at no cost. Without that it needs the start, as in `ledger`. Its upload brings the mask
  (`index` or `bitmap`) where it is not the one of its last upload.
* Further vectors that come down with the parameters may change wherever any client ever trained:
  so much of them is sent.
* Where all clients score the model for a new shared mask, all are first sent what has changed.

What the account remembers is a part of the state: a run that goes on counts the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from fl_core.config.mask_section import MaskConfig
from fl_core.federated.booking import (
    ANSWER,
    Message,
    Parcel,
    booked,
    numbers_told,
    opaque,
    shortest,
    total_names,
    with_more,
)
from fl_core.federated.cost import Cost
from fl_core.federated.messages import COMPARED, ENCODINGS, length_of, mask_length
from fl_core.federated.update import Traffic

MEMORY = "ledger/"  # names of its tensors in the state
Masks = Callable[[int, int], Tensor]  # (client, round) -> (P,) bool, since the last calibration


class ChangingLedger:
    """Bytes of the main stage so far; what clients have, and what has changed.

    memory: `tensors` of the state to go on from. told: all clients have the start. beside: bytes
    that come once to a client. numbers: that it is told in every round, of four bytes each.
    """

    def __init__(
        self,
        size: int,
        mask: MaskConfig,
        rounds: int,
        totals: Mapping[str, float],
        memory: Mapping[str, Tensor],
        *,
        clients: int,
        told: bool = False,
        beside: int = 0,
        numbers: int = 0,
    ) -> None:
        self.totals = {key: float(totals.get(key, 0)) for key in total_names(mask.scope)}
        self._size, self._mask, self._rounds, self._beside = size, mask, rounds, beside
        self._numbers = numbers
        self._ahead: dict[Traffic, Parcel] = {}  # of the coming round: asked for before and after
        never = torch.full((clients,), -1, dtype=torch.int32)
        nothing = torch.full((size,), -1, dtype=torch.int32)
        #: (K,) the round that a client has the parameters of, as they were at its beginning; the
        #: last that it took part in. -1 = none.
        self._has = memory.get("has", never + told).cpu().clone()
        self._joined = memory.get("joined", never).cpu().clone()
        self._changed = memory.get("changed", nothing).cpu().clone()  # (P,) last round it did

    def tensors(self) -> dict[str, Tensor]:
        """What it remembers, for the state: copies, by name."""
        own = {"has": self._has, "joined": self._joined, "changed": self._changed}
        return {MEMORY + name: tensor.clone() for name, tensor in own.items()}

    def round_trip(
        self,
        round: int,
        traffic: Sequence[Traffic],
        broadcast: int,
        masks: Masks,
        asked: Sequence[int] = (),
        scored: Cost | None = None,
    ) -> None:
        """Account a round: the clients' downloads, and their uploads after training.

        broadcast: vectors that come down with the parameters. asked: the clients that answered with
        a number, chosen or not. scored: where all clients have scored the model before the round,
        what that took beside the model.
        """
        down: list[Message] = []
        up: list[Message] = []
        if scored is not None:
            down, up = self._all_scored(round, scored)
        for one in traffic:
            parcel = self.parcel(round, one, broadcast, masks)
            down += parcel.down
            up += parcel.up
        for client in set(asked) - {one.client for one in traffic}:
            down.append(self.to_judge(client))
            self._has[client] = round
        up += [opaque(ANSWER)] * len(asked)
        for one in traffic:
            self._changed[masks(one.client, round).cpu()] = round
            self._has[one.client] = self._joined[one.client] = round
        self._ahead.clear()
        self.totals = booked(self.totals, down, up, compared=True)

    def _all_scored(self, round: int, scored: Cost) -> tuple[list[Message], list[Message]]:
        """Everyone gets what has changed, and takes part in the calibration."""
        clients = len(self._has)
        none = torch.zeros(self._size, dtype=torch.bool)
        down = [shortest(*self._since(int(has), none)) for has in self._has]
        self._has.fill_(round)
        self._ahead.clear()
        sent = [_plain(total // clients) for total in (scored.down, scored.up)]
        return [*down, *[sent[0]] * clients], [sent[1]] * clients

    def parcel(self, round: int, own: Traffic, broadcast: int, masks: Masks) -> Parcel:
        """What travels in a client's turn of the coming round; arguments as of `round_trip`."""
        if own not in self._ahead:
            down = self._downloads(round, own.client, broadcast, masks)
            self._ahead[own] = Parcel(down, self._uploads(round, own, masks))
        return self._ahead[own]

    def to_judge(self, client: int) -> Message:
        """The model for a client that will not train it."""
        has = int(self._has[client])
        if has < 0:
            return _plain(length_of(self._size, 0, "dense")).heavier(0, self._beside)
        return shortest(*self._since(has, torch.zeros(self._size, dtype=torch.bool)))

    def _downloads(self, round: int, client: int, broadcast: int, masks: Masks) -> list[Message]:
        has, joined = int(self._has[client]), int(self._joined[client])
        mask = masks(client, round).cpu()
        whole = _plain(length_of(self._size, 0, "dense"))
        if has < 0:
            messages = [whole] * (1 + broadcast)
            if self._needs_start and round:
                messages.append(shortest(*self._since(0, mask)))
        else:
            known = mask
            if joined >= 0 and self._mask.period(joined) == self._mask.period(round):
                known = mask | masks(client, joined).cpu()
            messages = [shortest(*self._since(has, known))]
            if broadcast:
                lengths, choices = self._since(0, known)
                messages += with_more(shortest(lengths, choices), broadcast - 1, lengths)
        told = self._mask_message(round, joined, client, mask, masks)
        beside = self._beside if joined < 0 else 0
        messages[0] = messages[0].heavier(told, beside)
        return messages + numbers_told(self._numbers)

    @property
    def _needs_start(self) -> bool:
        """Whether clients make their masks on the parameters that the run started from."""
        return self._mask.scope == "per_client" and not self._mask.recalibrate

    def _since(self, round: int, known: Tensor) -> tuple[dict[str, int], list[str]]:
        """Lengths of what has changed since the beginning of a round, and which can be decoded."""
        changed = self._changed >= round
        lengths = self._lengths(int(changed.sum()))
        if bool((changed & ~known).any()):
            return lengths, list(COMPARED)
        return {**lengths, "values": self._lengths(int(known.sum()))["values"]}, list(ENCODINGS)

    def _mask_message(
        self, round: int, joined: int, client: int, mask: Tensor, masks: Masks
    ) -> int:
        """Bytes of a shared mask for a client that has another one, or none."""
        if self._mask.scope == "per_client" or self._same(joined, round):
            return 0
        whole = mask_length(self._size, int(mask.sum()))
        if joined < 0 or self._mask.period(joined) != self._mask.period(round):
            return whole
        difference = mask ^ masks(client, joined).cpu()
        return min(whole, mask_length(self._size, int(difference.sum())))

    def _uploads(self, round: int, traffic: Traffic, masks: Masks) -> list[Message]:
        rest = [opaque(traffic.bytes)] if traffic.bytes else []
        lengths = self._lengths(int(masks(traffic.client, round).sum()))
        known = self._mask.scope == "shared" or self._same(int(self._joined[traffic.client]), round)
        first = shortest(lengths, ENCODINGS if known else ("index", "bitmap"))
        return with_more(first, traffic.vectors, lengths) + rest

    def _same(self, joined: int, round: int) -> bool:
        """Whether a client's mask is the one of the round that it last took part in."""
        mask, rounds = self._mask, self._rounds
        return (
            joined >= 0
            and mask.period(joined) == mask.period(round)
            and mask.sparsity_at(joined, rounds) == mask.sparsity_at(round, rounds)
        )

    def _lengths(self, count: int) -> dict[str, int]:
        return {name: length_of(self._size, count, name) for name in ENCODINGS}


def _plain(length: int) -> Message:
    """Of this length whatever the encoding."""
    return Message("dense", length, dict.fromkeys(COMPARED, length))
