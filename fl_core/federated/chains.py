"""Clients that train one after the other: each goes on from what the one before it has made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from fl_core.federated.attacks import falsified
from fl_core.federated.client import Trained
from fl_core.federated.run import Run
from fl_core.federated.state import State
from fl_core.federated.turns import trained, use_stacked
from fl_core.federated.update import Update


class Link(NamedTuple):
    """A chain up to one of its clients."""

    clients: tuple[int, ...]
    sent: Mapping[str, Tensor]  # by the last of them
    work: Trained  # of all of them: their images, the mean loss over these
    num_examples: int
    travel: float  # sum of the learning rates of all steps


def chain_updates(run: Run, state: State, chains: Sequence[Sequence[int]]) -> Iterator[Update]:
    """One update of each chain, of the weight of all its examples.

    The clients at the same place of all chains are stacked where that is faster; elsewhere chain
    follows chain, so that one model is in memory at a time.
    """
    together = use_stacked(run.config, run.fed.model, state.params.device)
    for some in [chains] if together else [[chain] for chain in chains]:
        for link in _ends(run, state, some):
            yield Update(
                client=link.clients[-1],
                version=state.round,
                num_examples=link.num_examples,
                weight=link.num_examples,
                sent=link.sent,
                kept={},
                train_loss=link.work.train_loss,
                images=link.work.images,
                travel=link.travel,
                before=link.clients[:-1],
            )


def _ends(run: Run, state: State, chains: Sequence[Sequence[int]]) -> list[Link]:
    """Every chain after its last client."""
    links: dict[int, Link] = {}
    for place in range(max(map(len, chains))):
        going = [number for number, chain in enumerate(chains) if place < len(chain)]
        clients = [chains[number][place] for number in going]
        starts = [links[number].sent["params"] for number in going] if place else None
        done = trained(run, state, clients, starts)
        for number, (turn, _, result) in zip(going, done, strict=True):
            sent = falsified(
                run.config, run.fed, turn.client, state.round, {"params": result.params},
                turn.start, None if run.fed.masks is None else run.fed.masks(turn.client).mask,
            )  # fmt: skip
            link = Link((turn.client,), sent, result, turn.work.num_examples, sum(turn.rates))
            links[number] = link if not place else _longer(links[number], link)
    return [links[number] for number in range(len(chains))]


def _longer(chain: Link, last: Link) -> Link:
    return Link(
        chain.clients + last.clients,
        last.sent,
        last.work.following(chain.work),
        chain.num_examples + last.num_examples,
        chain.travel + last.travel,
    )
