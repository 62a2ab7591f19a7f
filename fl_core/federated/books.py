"""A run's ledger: made at its start from what earlier rounds sent, and booked round by round."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from fl_core.federated.changing_ledger import MEMORY, ChangingLedger
from fl_core.federated.cost import Cost
from fl_core.federated.ledger import Ledger
from fl_core.federated.masking import RoundMasks
from fl_core.federated.messages import encode
from fl_core.federated.pace.table import paces
from fl_core.federated.run import Run
from fl_core.federated.server import named
from fl_core.federated.state import State
from fl_core.federated.update import Measured


def ledger_of(run: Run, state: State, before: Mapping[str, Cost]) -> Ledger | ChangingLedger:
    """The account of what was sent in the rounds before `state`."""
    sent = {n: v for n, v in state.totals.items() if n.startswith(("bytes_", "messages_"))}
    if run.fed.changing is not None:
        return ChangingLedger(
            run.fed.model.layout.size,
            run.config.mask,
            run.config.rounds,
            sent,
            named(state.server, MEMORY),
            clients=run.config.federation.clients,
            told="masks" in before,
            beside=run.fed.beside,
            numbers=len(paces(run.config)),
        )
    first = 0 if run.part is None else len(encode(state.params[run.part], None, "dense"))
    ledger = Ledger(
        run.shared(state.params).numel(),
        None if run.fed.masks is None else run.config.mask.scope,
        sent,
        told="masks" in before,
        fisher=run.rule.fisher,
        clients=run.config.federation.clients,
        beside=run.fed.beside + first,
        numbers=len(paces(run.config)),
    )
    ledger.replay(state.participants, _mask_of(run))
    return ledger


def book(
    ledger: Ledger | ChangingLedger,
    run: Run,
    state: State,
    measured: Measured,
    now: RoundMasks,
    asked: Sequence[int],
) -> State:
    """The state after the round's traffic is counted."""
    broadcast = len(run.rule.broadcast)
    if isinstance(ledger, Ledger):
        params = run.shared(state.params)
        ledger.round_trip(params, measured.traffic, broadcast, _mask_of(run), asked)
        return state
    made = now.made
    assert made is not None
    masks = lambda client, round: made.of(client, round).mask  # noqa: E731
    ledger.round_trip(now.state.round, measured.traffic, broadcast, masks, asked, made.sent)
    return replace(state, server={**state.server, **ledger.tensors()})


def _mask_of(run: Run) -> Callable[[int], Tensor | None]:
    """Of what travels of a client's model."""
    masks = run.fed.masks
    return (lambda client: None) if masks is None else (lambda c: run.shared(masks(c).mask))
