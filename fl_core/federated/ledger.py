"""What the main stage sends between server and clients, in bytes, each way.

Every count is the length of an encoded message. What the stages before it send: `federated.cost`.

* Dense run: the whole vector both ways.
* Shared mask: at a client's first round the server sends the whole vector (the client needs the
  frozen entries and the head too) and the mask once. From then on only active entries change and
  both sides hold the mask, so downloads are values alone; uploads are from the first, for the
  server made the mask.
* Per-client masks: the first download is the whole vector, and the client computes its own mask,
  on the parameters that the run started from: from the second round on it is sent these, and what
  has changed since. Its first upload must bring that mask: `index` or `bitmap`, which are mask and
  values in one message. Later uploads are values alone. Later downloads are the entries that have
  changed since, at most the union of the masks of all clients of earlier rounds; a client does not
  know the others' masks, so the positions go along.
* Further vectors of the model's size that a rule sends up, or the server down
  (`LocalRule.broadcast`): a message each, of the same entries as the parameters before it. So
  their positions are not sent again. Anything else that is sent counts its bytes and a header.
* Fisher information (`LocalRule.fisher`) is that of the start and never changes: a client sends
  its own once, with its first round (`round`), for which it needs the start; the sum over a
  round's clients comes down to those of them that have parameters of their own to blend. `all`:
  the start goes to ALL clients and their information comes up before the first round; their sum
  goes to each client once, with its first round.
* What the vector lacks and a client needs, a frozen head, comes with its first download.
* A client that is asked before it is chosen (`Selection.asked`) sends one float32. The model that
  it answers for is the one that it then trains; who is not chosen was sent the model for nothing,
  and keeps none of it: the whole vector where it has never trained, else what has changed.
* Of a client whose update does not arrive a share of what its whole turn would have taken was sent:
  that counts as sent and as lost. It keeps nothing of it: unless it took part before, its next
  download is a first one.
* An aggregate may be a protocol between the clients (`aggregates.party`): an update may have an
  encoding of its own, and what they exchange beside it counts, too: up and down of every client, as
  lost where its update does not arrive.

Clients to whom an earlier stage sent the start (`told`: they made the masks) get at first only
what has changed.

Of the encodings that the receiver can decode the shortest is sent. For comparison the same
traffic is also counted with every message dense, index or bitmap. There a first download is the
whole vector, dense (no positions could shorten it), and no mask is sent apart: what is really sent
bears that cost, so the comparison does not flatter it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from torch import Tensor

from fl_core.federated.booking import (
    ANSWER,
    Broken,
    Exchanged,
    Message,
    Parcel,
    Torn,
    bare,
    booked,
    numbers_told,
    opaque,
    shortest,
    total_names,
    with_more,
)
from fl_core.federated.lengths import Lengths, Masks
from fl_core.federated.messages import COMPARED, ENCODINGS, HEADER
from fl_core.federated.update import Traffic


class Ledger:
    """Bytes of the main stage so far, each way, by encoding and as sent.

    `seen` (the clients of earlier rounds) and `union` (of their masks, if they are per client)
    are what earlier rounds have delivered; `replay` rebuilds them. told, fisher: see above. hidden:
    clients exchange messages beside their updates. upload: bytes of an update of so many entries,
    where an aggregate has an encoding of its own.
    clients: of the whole federation, for fisher="all". beside: bytes that come once to a client.
    numbers: that it is told in every round, of four bytes each.
    """

    def __init__(
        self,
        size: int,
        scope: str | None,
        totals: Mapping[str, float],
        seen: Iterable[int] = (),
        union: Tensor | None = None,
        *,
        told: bool = False,
        fisher: str = "",
        clients: int = 0,
        beside: int = 0,
        numbers: int = 0,
        hidden: bool = False,
        upload: Callable[[int], int] | None = None,
    ) -> None:
        if scope not in (None, "shared", "per_client"):
            raise ValueError(f"scope={scope!r}: must be None, shared or per_client")
        self.totals = {key: float(totals.get(key, 0)) for key in total_names(scope, hidden)}
        self.seen = {int(client) for client in seen}
        if self.seen and union is None and scope == "per_client":
            raise ValueError("scope='per_client': clients seen without the union of their masks")
        self._lengths = Lengths(size, scope, union)
        self._size, self._scope = size, scope
        self._told, self._fisher, self._clients = told, fisher, clients
        self._beside, self._numbers, self._upload = beside, numbers, upload

    @property
    def union(self) -> Tensor:
        """(P,) bool: of the masks of those who have taken part (per-client masks)."""
        return self._lengths.union

    def round_trip(
        self,
        params: Tensor,
        traffic: Sequence[Traffic],
        broadcast: int,
        masks: Masks,
        asked: Sequence[int] = (),
        broken: Sequence[Broken] = (),
        exchanged: Mapping[int, Exchanged] = MappingProxyType({}),
        began: Sequence[int] | None = None,
    ) -> None:
        """Account one round: the clients' downloads, and their uploads after training.

        `params` is any vector of the run's layout: lengths do not depend on values. `broadcast`:
        vectors that come down with the parameters. `masks` is asked for what has not been measured
        yet. `asked`: the clients that answered with a number, chosen or not. `broken`: those
        whose updates did not arrive, which would have sent what the others did: for the next round
        it is as if they had not been there. `exchanged`: what clients, those too, sent and got
        in a protocol. `began`: the clients that are sent the model now, where these are not those
        whose updates come.
        """
        began = [one.client for one in traffic] if began is None else began
        down = [m for client in began for m in self._downloads(params, client, broadcast, masks)]
        up = [m for one in traffic for m in self._uploads(params, one, masks)]
        in_vain = set(asked) - {t.client for t in traffic}
        down += [self.to_judge(params, client, masks) for client in in_vain]
        up += [opaque(ANSWER)] * len(asked)
        lost = [(self.parcel(params, one.traffic, broadcast, masks), one) for one in broken]
        if self._fisher == "all" and not self.seen:
            start = bare(0) if self._told else self._whole(params)
            down += [start.heavier(self._lengths.mask, 0)] * self._clients
            up += [self._trained(params, traffic[0].client, masks)] * self._clients
        arrived = [one.client for one in traffic]
        self.replay(arrived, masks)
        self._lengths.forget()
        down += [bare(one.down) for one in exchanged.values()]
        up += [bare(one.up) for one in exchanged.values()]
        self.totals = booked(
            self.totals,
            down,
            up,
            compared=self._scope is not None,
            torn_down=[Torn(parcel.down, one.down) for parcel, one in lost],
            torn_up=[Torn(parcel.up, one.up) for parcel, one in lost],
        )
        for client, one in exchanged.items():
            self.totals["bytes_down_protocol"] += one.down
            self.totals["bytes_up_protocol"] += one.up
            self.totals["bytes_lost"] += 0 if client in arrived else one.up + one.down

    def parcel(self, params: Tensor, own: Traffic, broadcast: int, masks: Masks) -> Parcel:
        """What travels in a client's turn of the coming round; arguments as of `round_trip`."""
        down = self._downloads(params, own.client, broadcast, masks)
        return Parcel(down, self._uploads(params, own, masks))

    def to_judge(self, params: Tensor, client: int, masks: Masks) -> Message:
        """The model for a client that will not train it."""
        if client in self.seen or self._told or self._fisher == "all":
            return self._changes(params, client, 0, masks)[0]
        return self._whole(params).heavier(0, self._beside)

    def replay(self, clients: Iterable[int], masks: Masks) -> None:
        """These have taken part: `seen` and `union` grow, nothing is counted."""
        for client in clients:
            if client not in self.seen and self._scope == "per_client":
                self._lengths.join(client, masks)
            self.seen.add(int(client))

    def _downloads(
        self, params: Tensor, client: int, broadcast: int, masks: Masks
    ) -> list[Message]:
        first, exchanged = client not in self.seen, self._fisher == "all"
        if self._scope == "shared":
            self._lengths_of(params, client, masks)  # measures the mask
        if first and not (self._told or exchanged):
            messages = self._everything(params, client, broadcast, masks)
        else:
            messages = self._changes(params, client, broadcast, masks)
        if first:
            mask = 0 if exchanged else self._lengths.mask  # which came with the exchange
            messages[0] = messages[0].heavier(mask, self._beside)
        if self._fisher and first == exchanged:
            messages.append(self._trained(params, client, masks))  # the sum
        return messages + numbers_told(self._numbers)

    def _everything(
        self, params: Tensor, client: int, broadcast: int, masks: Masks
    ) -> list[Message]:
        """The parameters as they are, and where a client needs it, as the run started from."""
        messages = [self._whole(params)] * (1 + broadcast)
        if self.seen and (self._scope == "per_client" or self._fisher):
            messages.append(self._changes(params, client, 0, masks)[0])
        return messages

    def _changes(self, params: Tensor, client: int, broadcast: int, masks: Masks) -> list[Message]:
        """What may have changed since the start."""
        if self._scope is None:
            return [self._whole(params)] * (1 + broadcast)
        if self._scope == "shared":
            lengths = self._lengths_of(params, client, masks)
            return with_more(shortest(lengths, ENCODINGS), broadcast, lengths)
        lengths = self._lengths.of_union(params)
        return with_more(shortest(lengths, COMPARED), broadcast, lengths)

    def _uploads(self, params: Tensor, traffic: Traffic, masks: Masks) -> list[Message]:
        rest = [opaque(traffic.bytes)] if traffic.bytes else []
        if self._fisher == "round" and traffic.client not in self.seen:
            rest.append(self._trained(params, traffic.client, masks))
        if self._upload is not None:
            return [self._hidden(params, traffic.client, masks, self._upload), *rest]
        if self._scope is None:
            return [self._whole(params)] * (1 + traffic.vectors) + rest
        unknown = self._scope == "per_client" and traffic.client not in self.seen
        lengths = self._lengths_of(params, traffic.client, masks)
        first = shortest(lengths, ("index", "bitmap") if unknown else ENCODINGS)
        return with_more(first, traffic.vectors, lengths) + rest

    def _hidden(
        self, params: Tensor, client: int, masks: Masks, upload: Callable[[int], int]
    ) -> Message:
        """An update as an aggregate encodes it; compared: with positions as of any other."""
        whole = upload(self._size)
        if self._scope is None:
            return Message("dense", whole, {})
        lengths = self._lengths_of(params, client, masks)
        sent = upload((lengths["values"] - HEADER) // 4)
        located = {name: sent + lengths[name] - lengths["values"] for name in ("index", "bitmap")}
        return Message("values", sent, {"dense": whole, **located})

    def _trained(self, params: Tensor, client: int, masks: Masks) -> Message:
        """A vector of the entries that a client trains; of all while its mask is not known."""
        if self._scope is None or (self._scope == "per_client" and client not in self.seen):
            return self._whole(params)
        return shortest(self._lengths_of(params, client, masks), ENCODINGS)

    def _whole(self, params: Tensor) -> Message:
        return bare(self._lengths.whole(params))

    def _lengths_of(self, params: Tensor, client: int, masks: Masks) -> dict[str, int]:
        return self._lengths.of(params, client, masks, joins=client not in self.seen)
