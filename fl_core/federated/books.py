"""A run's ledger: made at its start from what earlier rounds sent, and booked round by round.

What a client's turn takes is known before it happens (`errand_of`): lengths depend on masks alone.
The clock asks for it, and what is booked then is the same: an aggregate that makes an upload longer
or shorter, or a rule that sends more, says so here, once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import Tensor

from fl_core.config.fields import refuse
from fl_core.federated.aggregates.party import Joined
from fl_core.federated.aggregates.table import planned, upload_of
from fl_core.federated.booking import NUMBER, Broken, Parcel
from fl_core.federated.changing_ledger import MEMORY, ChangingLedger
from fl_core.federated.cost import Cost
from fl_core.federated.ledger import Ledger
from fl_core.federated.masking import Made, RoundMasks
from fl_core.federated.messages import encode
from fl_core.federated.pace.table import numbers_told, paces
from fl_core.federated.run import Run
from fl_core.federated.server import named
from fl_core.federated.state import State
from fl_core.federated.timing.fates import Errand
from fl_core.federated.timing.turnout import Turnout
from fl_core.federated.turns import examples_of
from fl_core.federated.update import Measured, Traffic

AnyLedger = Ledger | ChangingLedger


def ledger_of(run: Run, state: State, before: Mapping[str, Cost]) -> AnyLedger:
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
            numbers=numbers_told(run.config),
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
        numbers=numbers_told(run.config),
        hidden=any(planned(run.config)),
        upload=upload_of(run.config),
    )
    ledger.replay(state.participants, _mask_of(run))
    return ledger


def errand_of(ledger: AnyLedger, run: Run, state: State, now: RoundMasks, client: int) -> Errand:
    """What a client's turn in the coming round takes, if it comes to its end."""
    parcel = _parcel(ledger, run, state, now, client)
    return Errand(parcel.bytes_down, examples_of(run, client), parcel.bytes_up)


def _parcel(ledger: AnyLedger, run: Run, state: State, now: RoundMasks, client: int) -> Parcel:
    own = _traffic(run, client)
    broadcast = len(run.rule.broadcast)
    if isinstance(ledger, Ledger):
        parcel = ledger.parcel(run.shared(state.params), own, broadcast, _mask_of(run))
        return parcel.beside(planned(run.config))
    return ledger.parcel(state.round, own, broadcast, _masks_of(now))


def judged_bytes(ledger: AnyLedger, run: Run, state: State, client: int) -> int:
    """Bytes of the model for a client that is asked for its loss alone."""
    if isinstance(ledger, Ledger):
        return ledger.to_judge(run.shared(state.params), client, _mask_of(run)).sent
    return ledger.to_judge(client).sent


def book(
    ledger: AnyLedger,
    run: Run,
    state: State,
    measured: Measured,
    turnout: Turnout,
    joint: Joined,
) -> State:
    """The state after the round's time and traffic are counted, what was lost as such, too."""
    lost, now, asked = turnout.lost, turnout.now, turnout.chosen.asked
    totals = dict(state.totals)
    totals["virtual_seconds"] += turnout.seconds
    totals["images_lost"] += sum(fate.examples for fate in lost)
    totals["clients_lost"] += len(lost)
    totals["rounds_lost"] += joint.target is None
    state = replace(state, totals=totals)
    for sent in measured.traffic:
        if sent != _traffic(run, sent.client):
            told = f"says that it sends {run.rule.sends} vectors (LocalRule.sends), sends "
            raise refuse(
                "local.rule", run.config.local.rule, f"{told}{sent.vectors} and {sent.bytes} bytes"
            )
    broadcast = len(run.rule.broadcast)
    if isinstance(ledger, Ledger):
        broken = [Broken(_traffic(run, f.client), f.share_down, f.share_up) for f in lost]
        params = run.shared(state.params)
        began = None
        if turnout.staleness is not None:
            began = [fate.client for fate in turnout.fates if fate.arrives]
        ledger.round_trip(
            params,
            measured.traffic,
            broadcast,
            _mask_of(run),
            asked,
            broken,
            joint.exchanged,
            began,
        )
        return state
    made, of = _made(now), _masks_of(now)
    ledger.round_trip(now.state.round, measured.traffic, broadcast, of, asked, made.sent)
    return replace(state, server={**state.server, **ledger.tensors()})


def _traffic(run: Run, client: int) -> Traffic:
    """What a client will send beside its parameters."""
    losses = any(pace.loss for pace in paces(run.config).values())
    return Traffic(client, run.rule.sends, NUMBER if losses else 0)


def _mask_of(run: Run) -> Callable[[int], Tensor | None]:
    """Of what travels of a client's model."""
    masks = run.fed.masks
    return (lambda client: None) if masks is None else (lambda c: run.shared(masks(c).mask))


def _made(now: RoundMasks) -> Made:
    assert now.made is not None
    return now.made


def _masks_of(now: RoundMasks) -> Callable[[int, int], Tensor]:
    made = _made(now)
    return lambda client, round: made.of(client, round).mask
