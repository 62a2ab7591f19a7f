"""How long the messages of a mask's entries are, in every encoding: each is measured once.

Lengths depend on the mask alone: they are kept, masks are not.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fl_core.federated.messages import ENCODINGS, encode, encode_mask

Masks = Callable[[int], "Tensor | None"]  # of a client; None only in a dense run


class Lengths:
    """Bytes of messages of the whole vector, of a client's entries and of the union of masks.

    size: entries of the vector. scope: of the masks; None in a dense run. union: (P,) bool, of the
    masks of those who have taken part; None: of nobody. mask: bytes of the shared mask, once it
    has been measured.
    """

    def __init__(self, size: int, scope: str | None, union: Tensor | None) -> None:
        self.union = torch.zeros(size, dtype=torch.bool) if union is None else union.cpu()
        self.mask = 0
        self._size, self._scope = size, scope
        self._whole = 0
        self._own: dict[int | None, dict[str, int]] = {}  # by client; None: of the shared mask
        self._fresh: dict[int, Tensor] = {}  # masks of clients that may join in this round
        self._union: dict[str, int] = {}  # until it grows

    def whole(self, params: Tensor) -> int:
        """Of the whole vector."""
        if params.numel() != self._size:
            raise ValueError(f"params: {params.numel()} entries, the ledger is of {self._size}")
        self._whole = self._whole or len(encode(params, None, "dense"))
        return self._whole

    def of(self, params: Tensor, client: int, masks: Masks, *, joins: bool) -> dict[str, int]:
        """Of what a client's mask lets through. joins: it may join the union in this round."""
        key = client if self._scope == "per_client" else None
        if key not in self._own:
            mask = _need(masks, client)
            self._own[key] = self._measure(params, mask)
            if self._scope == "shared":
                self.mask = len(encode_mask(mask))
            elif joins:
                self._fresh[client] = mask
        return self._own[key]

    def of_union(self, params: Tensor) -> dict[str, int]:
        """Of all that any mask so far lets through."""
        if not self._union:
            self._union = self._measure(params, self.union)
        return self._union

    def join(self, client: int, masks: Masks) -> None:
        """The union grows by the mask of a client."""
        mask = self._fresh.pop(client, None)
        self.union = self.union | (_need(masks, client) if mask is None else mask).cpu()
        self._union = {}

    def forget(self) -> None:
        """The round is over: masks of those who have not joined are not kept."""
        self._fresh.clear()

    def _measure(self, params: Tensor, mask: Tensor) -> dict[str, int]:
        sparse = {name: len(encode(params, mask, name)) for name in ENCODINGS if name != "dense"}
        return {"dense": self.whole(params), **sparse}


def _need(masks: Masks, client: int) -> Tensor:
    mask = masks(client)
    if mask is None:
        raise ValueError(f"client {client}: no mask, though the run has masks")
    return mask
