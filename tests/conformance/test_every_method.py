"""Each method alone: what it is next to FedAvg, what it repeats, keeps, and how it ends."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from methods import (
    CHOICES,
    FEDAVG,
    METHODS,
    TABLES,
    Method,
    Settings,
    all_methods,
    facts_of,
)
from other_values import FIELDS
from test_fedavg import config, plain
from tiny import (
    BASE,
    MASKS,
    allowed,
    bits,
    configured,
    content,
    federation,
    results,
    rough,
    start,
    story,
    turnout,
)

from fl_core.base.errors import ConfigError
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.rule import LocalRule, Visit
from fl_core.federated.rules.table import rule_of
from fl_core.federated.run import Run
from fl_core.federated.selection import Selection
from fl_core.federated.server import begun
from fl_core.federated.work import client_updates

every_method = pytest.mark.parametrize("method", METHODS, ids=str)


def fedavg_beside(method: Method, masks: str, own: Settings) -> TrialConfig:
    """The neutral choice of the method's field, with all else as the method is drawn."""
    base = config().override({**BASE, **MASKS[masks], **method.facts.needs})
    return allowed(base, **{n: v for n, v in own.items() if n != method.field})


def refusal_of(cfg: TrialConfig, values: Settings) -> str | None:
    """The line that refuses these values, if they are refused."""
    try:
        cfg.override(values)
    except ConfigError as refusal:
        return str(refusal)
    return None


# --- the tables ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLES)
def test_a_table_and_its_field_name_the_same_methods(name: str) -> None:
    """The first is the default and the neutral one."""
    choices = FIELDS[name].metadata["choices"]
    assert list(TABLES[name]) == list(choices)
    assert FIELDS[name].default == choices[0]
    assert facts_of(f"{name}={choices[0]}") is FEDAVG


@pytest.mark.parametrize(
    "name", [f"{f}={choice}" for f, choices in {**TABLES, **CHOICES}.items() for choice in choices]
)
def test_every_method_says_when_it_is_fedavg(name: str) -> None:
    facts = facts_of(name)
    assert facts.variants
    assert facts is FEDAVG or facts.neutral


@pytest.mark.parametrize("name", TABLES)
def test_a_method_is_drawn_by_being_in_its_table(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And fails with its name as long as FACTS does not know it."""
    monkeypatch.setitem(TABLES[name], "new", None)  # type: ignore[arg-type]
    assert f"{name}=new" in [str(method) for method in all_methods()]
    with pytest.raises(LookupError, match=f"no entry for {name}=new"):
        facts_of(f"{name}=new")


# --- next to FedAvg -----------------------------------------------------------------------------


@pytest.mark.parametrize("masks", ["dense", "senders"])
@pytest.mark.parametrize("method", [m for m in METHODS if m.facts.neutral_values], ids=str)
def test_its_neutral_value_is_fedavg_to_the_bit(method: Method, masks: str) -> None:
    """Or is refused; where there is none, FACTS says why."""
    neutral = method.facts.neutral_values
    drawn = configured(method, masks)
    refusal = refusal_of(drawn, neutral)
    if refusal is not None:
        assert "\n" not in refusal
        assert any(name in refusal for name in neutral)
        return
    one, other = results(drawn.override(neutral)), results(fedavg_beside(method, masks, neutral))
    assert [bits(r.state.params) for r in one] == [bits(r.state.params) for r in other]
    for a, b in zip(one, other, strict=True):
        assert plain(a.metrics) == plain(b.metrics)


@pytest.mark.parametrize("method", [m for m in METHODS if m.facts is not FEDAVG], ids=str)
def test_otherwise_it_is_not_fedavg(method: Method) -> None:
    one = results(configured(method))
    other = results(fedavg_beside(method, "dense", method.values))
    same = bits(one[-1].state.params) == bits(other[-1].state.params)
    assert same == method.facts.beside
    assert story(one) != story(other)


# --- the same again -----------------------------------------------------------------------------


@pytest.mark.parametrize("masks", ["dense", "shared", "senders"])
@every_method
def test_going_on_from_any_state_gives_the_same_bits(method: Method, masks: str) -> None:
    cfg = allowed(rough(configured(method, masks)), keep="best")
    fed = federation(cfg)
    whole = results(cfg, fed)
    before = story(whole)
    assert len(whole) == cfg.rounds
    for done, result in enumerate(whole[:-1], start=1):
        fed.model.flat.normal_(generator=torch.Generator().manual_seed(done))  # another process
        assert story(results(cfg, fed, result.state)) == before[done:]
    assert story(whole) == before  # nor has going on changed the states


@every_method
def test_the_same_seed_repeats_and_another_differs(method: Method) -> None:
    """Nor is the global random state read or moved."""
    runs = []
    for seed, elsewhere in ((0, 1), (0, 2), (1, 1)):
        cfg = configured(method, seed=seed)
        fed = federation(cfg)
        torch.manual_seed(elsewhere)
        np.random.seed(elsewhere)  # noqa: NPY002
        drawn = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index, union-attr]  # noqa: NPY002
        runs.append(story(results(cfg, fed)))
        assert torch.equal(drawn[0], torch.get_rng_state())
        assert np.array_equal(drawn[1], np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002
    assert runs[0] == runs[1] != runs[2]


@every_method
def test_evaluating_more_often_changes_nothing(method: Method) -> None:
    often, rarely = (results(configured(method, eval_every=n))[-1].state for n in (1, 3))
    one, other = content(often), content(rarely)
    for state in (one, other):  # these do count evaluations
        del state["best accuracy"]
    assert one == other


# --- who takes part, who keeps what -------------------------------------------------------------


@every_method
def test_only_those_that_took_part_keep_something(method: Method) -> None:
    cfg = configured(method)
    fed, rule = federation(cfg), rule_of(cfg.local)
    state, took_part = start(fed), set()
    for result in results(cfg, fed):
        here = turnout(cfg, fed, state)
        chosen, longest = here.chosen.clients.tolist(), max(map(len, here.chains), default=1)
        assert 1 <= len(set(chosen)) == len(chosen) <= cfg.federation.sampled * longest
        if here.chains:
            assert sorted(chosen) == sorted(client for chain in here.chains for client in chain)
        assert set(chosen) <= set(range(cfg.federation.clients))
        took_part |= set(chosen)
        before, state = state, result.state
        assert state.participants == took_part
        assert state.selected == Counter(before.selected) + Counter(chosen)
        assert set(state.clients.clients()) <= took_part
        if rule.memory:
            assert set(state.clients.clients()) == took_part
        for client in state.clients.clients():
            kept = state.clients.of(client)
            assert set(rule.memory) <= set(kept)
            assert all(tensor.numel() > 0 for tensor in kept.values())
    everyone = cfg.federation.sampled == cfg.federation.clients
    assert everyone or len(took_part) > cfg.federation.sampled  # not the same every round


@every_method
def test_its_tensors_begin_as_zeros(method: Method) -> None:
    """The server's, and a client's at its first round; later they are what the client kept."""
    cfg = configured(method)
    fed, rule = federation(cfg), rule_of(cfg.local)
    first = begun(start(fed), rule)
    assert set(first.server) == {f"rule/{name}" for name in (*rule.broadcast, *rule.held)}
    assert not any(tensor.any() for tensor in first.server.values())
    if not rule.memory:
        return
    for state in (first, *(r.state for r in results(cfg, fed))):
        everyone = Selection(np.arange(cfg.federation.clients))
        chosen = turnout(cfg, fed, state).chosen if state.round else everyone
        visits: list[Visit] = []
        list(client_updates(Run.of(cfg, fed)._replace(rule=watched(rule, visits)), state, chosen))
        for client, visit in zip(chosen.clients.tolist(), visits, strict=True):
            assert set(visit.memory) == set(rule.memory)
            own = state.clients.of(client)
            for name, tensor in visit.memory.items():
                wanted = own.get(name, torch.zeros_like(tensor))
                assert bits(tensor) == bits(wanted)
            assert set(visit.server) == set(rule.broadcast)


def watched(rule: LocalRule, visits: list[Visit]) -> LocalRule:
    """The rule, which notes what it is told."""
    assert rule.finish is not None
    real = rule.finish

    def finish(params: torch.Tensor, visit: Visit) -> Any:
        visits.append(visit)
        return real(params, visit)

    return replace(rule, finish=finish)


# --- how it ends --------------------------------------------------------------------------------


@pytest.mark.parametrize("masks", ["dense", "senders"])
@every_method
def test_divergence_is_a_result(method: Method, masks: str) -> None:
    cfg = configured(method, masks, local__lr=1e6, local__steps=20, eval_every=4)
    (result,) = results(allowed(cfg, local__weight_decay=1.0))
    assert result.diverged
    assert result.done
    assert result.state.round < cfg.rounds  # at once, not at the evaluation
    assert "val_accuracy" not in result.metrics
    finite = bool(result.state.params.isfinite().all())
    assert not (finite and math.isfinite(result.metrics["train_loss"]))
