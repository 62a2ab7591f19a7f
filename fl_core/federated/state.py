"""What a run carries from round to round, and what never changes in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from fl_core.base.params import FlatModule
from fl_core.base.persistent import Persistent
from fl_core.data.sources import Source
from fl_core.federated.cost import Before
from fl_core.federated.memory import ClientMemory
from fl_core.optim.sgdm import Active

if TYPE_CHECKING:
    from fl_core.federated.masking import Changing


@dataclass
class Federation:
    """Who trains what on which examples: everything of a run that does not change."""

    model: FlatModule
    train: Source
    val: Source | None
    shards: Sequence[np.ndarray]
    class_counts: np.ndarray  # (clients, classes)
    train_sample: Source | None = None  # training examples that are evaluated too
    masks: Callable[[int], Active] | None = None  # of each client; None = dense
    changing: Changing | None = None  # the masks of each round, where these may differ
    fisher: Callable[[int], Tensor] | None = None  # (P,) of each client, for rules that need it
    all_fisher: Callable[[], Tensor] | None = None  # (P,) the sum over all clients
    exemplars: Source | None = None  # the server's own examples, a few of each class
    before: Before = dict  # what the stages before the main one have cost
    attackers: frozenset[int] = frozenset()  # clients that work against the others
    beside: int = 0  # bytes that each client needs once beside the parameters: a frozen head

    @cached_property
    def num_examples(self) -> np.ndarray:
        """(K,) training examples of each client, counted once: a round looks at its own alone."""
        return np.array([len(shard) for shard in self.shards])


#: Totals that the virtual clock counts, round by round.
VIRTUAL = ("virtual_seconds", "images_lost", "clients_lost", "rounds_lost")


def _nothing() -> dict[str, float]:
    """Totals before the first round; what was sent is in the ledger's own."""
    wall = ("seconds_train", "seconds_eval", "seconds_overhead", "images")
    return dict.fromkeys((*wall, *VIRTUAL), 0.0)


@dataclass(frozen=True)
class State:
    """Everything a run carries from round to round: a checkpoint is exactly this.

    A local rule or a server optimiser keeps its tensors under names of its own; nothing here, nor
    in a checkpoint, knows them.
    """

    params: Tensor  # (P,) float32
    round: int = 0  # rounds completed
    server: Mapping[str, Tensor] = field(default_factory=dict)  # rule/… and optimiser/…
    clients: ClientMemory = field(default_factory=ClientMemory.empty)
    #: client -> its updates that arrived
    selected: Persistent[int, int] = field(default_factory=Persistent)
    best: Tensor | None = None  # parameters of the best evaluation, if they are kept
    best_accuracy: float = -1.0
    evaluations_since_best: int = 0
    totals: dict[str, float] = field(default_factory=_nothing)  # virtual_seconds: the clock

    @property
    def participants(self) -> frozenset[int]:
        """The clients whose updates arrived in the rounds completed."""
        return frozenset(self.selected)

    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Named tensors and JSON values. What clients keep is made durable in its own files, of
        which only those that changed are written.
        """
        tensors = {"params": self.params}
        tensors |= {f"server/{name}": tensor for name, tensor in self.server.items()}
        if self.best is not None:
            tensors["best"] = self.best
        values = {
            "round": self.round,
            "clients": self.clients.save(),
            "selected": sorted(self.selected.items()),
            "best_accuracy": self.best_accuracy,
            "evaluations_since_best": self.evaluations_since_best,
            "totals": self.totals,
        }
        return tensors, values

    @classmethod
    def from_tensors(
        cls,
        tensors: Mapping[str, Tensor],
        values: Mapping[str, Any],
        folder: Path | None,
        device: str,
    ) -> State:
        """The inverse of `to_tensors`; DamagedArtefact where a client's file is damaged.

        `folder`: where clients' tensors lie; None leaves them there.
        """
        own = {name: tensor.to(device) for name, tensor in tensors.items()}
        return cls(
            params=own["params"],
            round=values["round"],
            server={
                n.removeprefix("server/"): t for n, t in own.items() if n.startswith("server/")
            },
            clients=ClientMemory.empty()
            if folder is None
            else ClientMemory.load(values["clients"], folder, device),
            selected=Persistent(dict(values["selected"])),
            best=own.get("best"),
            best_accuracy=values["best_accuracy"],
            evaluations_since_best=values["evaluations_since_best"],
            totals={**_nothing(), **values["totals"]},
        )
