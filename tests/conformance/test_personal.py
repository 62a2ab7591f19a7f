"""What stays with a client, its own models, and who judges: answers known from elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from methods import Settings
from test_fedavg import config
from tiny import BASE, bits, federation, results, start
from torch import Tensor, nn

from fl_core.base.errors import ConfigError
from fl_core.base.params import FlatModule
from fl_core.base.rng import stream
from fl_core.config.trial_config import TrialConfig
from fl_core.data.sharding import class_counts
from fl_core.data.splits import split_like
from fl_core.federated.client import local_update, plan_work
from fl_core.federated.personal import table
from fl_core.federated.personal.own import MODEL, PART, shared_model
from fl_core.federated.personal.parts import head_of, norms_of
from fl_core.federated.personal.rule import NOBODY, divided
from fl_core.federated.results import RoundResult
from fl_core.federated.rule import PLAIN, Visit
from fl_core.federated.run import Run
from fl_core.federated.state import Federation

DEEP: Settings = {**BASE, "head.hidden": 8, "head.norm": "layer"}


def configured(rule: str, **values: object) -> TrialConfig:
    named = {name.replace("__", "."): value for name, value in values.items()}
    return config().override({**DEEP, "personal.rule": rule, **named})  # type: ignore[dict-item]


def shown(found: list[RoundResult]) -> list[object]:
    """Of each result the server's parameters, and what FedAvg has too."""
    names = ("bytes_up", "bytes_down", "val_accuracy", "train_loss", "client_drift")
    return [(bits(r.state.params), *(r.metrics[name] for name in names)) for r in found]


def alone(cfg: TrialConfig, client: int, rounds: list[int], purpose: str = "batches") -> Tensor:
    """Plain local training in these rounds, each from where the last one ended."""
    fed = federation(cfg)
    params = start(fed).params
    for round in rounds:
        batches = stream(cfg.seed, purpose, round, client)
        work = plan_work(fed.shards[client], cfg.local, batches)
        rates = [cfg.local.lr] * len(work.indices)
        params = local_update(
            fed.model, Visit(params, {}, {}), fed.train, work, cfg.local, rates
        ).params
    return params


# --- the part that stays ------------------------------------------------------------------------


def test_an_empty_part_is_fedavg_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may choose one, but it is what the arithmetic must come to."""
    cfg, real = configured("none", local__rule="prox"), Run.of
    plain = results(cfg)

    def with_nothing(config: TrialConfig, fed: Federation) -> Run:
        run = real(config, fed)
        nothing = torch.zeros_like(fed.model.flat, dtype=torch.bool)
        return run._replace(part=nothing, rule=divided(run.rule, nothing))

    monkeypatch.setattr(Run, "of", with_nothing)
    monkeypatch.setattr("fl_core.federated.books.encode", lambda *_: b"")  # of nothing, no message
    assert shown(results(cfg)) == shown(plain)


def test_an_empty_part_is_refused() -> None:
    cfg = configured("fedbn")
    fed = federation(cfg.override({"head.norm": "none", "personal.rule": "none"}))
    with pytest.raises(ConfigError, match="no layer that trains is of the kind that stays"):
        Run.of(cfg, fed)


@pytest.mark.parametrize("execution", ["sequential", "stacked"])
def test_all_local_is_local_training(execution: str) -> None:
    cfg = configured("local", compute__execution=execution, federation__participation=1.0)
    state = results(cfg)[-1].state
    for client in (0, 5):
        own = state.clients.of(client)[PART]
        torch.testing.assert_close(own, alone(cfg, client, [0, 1, 2, 3]), rtol=1e-4, atol=1e-5)
    assert bits(state.params) == bits(start(federation(cfg)).params)


def test_fedrep_trains_the_head_behind_the_servers_body_and_then_the_body() -> None:
    cfg = configured("fedrep", personal__steps=2, rounds=1, federation__participation=1.0)
    fed = federation(cfg)
    run, first = Run.of(cfg, fed), start(fed).params
    state = results(cfg, fed)[-1].state
    assert run.part is not None
    own = run.own_steps(PLAIN, 2).training(run.part)
    assert own.fed.masks is not None
    work = plan_work(fed.shards[1], own.local, stream(cfg.seed, "personal_batches", 0, 1))
    visit = Visit(first, {}, {}, active=own.fed.masks(1))
    wanted = local_update(fed.model, visit, fed.train, work, cfg.local, [cfg.local.lr] * 2).params
    torch.testing.assert_close(state.clients.of(1)[PART], wanted[run.part], rtol=1e-5, atol=1e-6)
    rest = ~run.part
    assert (state.params[rest] != first[rest]).float().mean() > 0.9


def test_parts_are_chosen_by_the_kind_of_layer() -> None:
    model = FlatModule(
        nn.Sequential(
            nn.Linear(3, 4), nn.GroupNorm(2, 4), nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 2)
        )
    )
    views = {n: bool(v.all()) for n, v in model.layout.views(norms_of(model)).items() if v.any()}
    assert views == dict.fromkeys(["1.weight", "1.bias", "3.weight", "3.bias"], True)
    views = {n: bool(v.all()) for n, v in model.layout.views(head_of(model)).items() if v.any()}
    assert views == {"4.weight": True, "4.bias": True}


# --- a model beside the shared one ----------------------------------------------------------------


@pytest.mark.parametrize("rule", ["ditto", "fine_tune"])
@pytest.mark.parametrize("more", [{}, {"local__rule": "scaffold"}, {"server__optimiser": "adam"}])
def test_the_shared_model_and_the_bytes_are_fedavgs(rule: str, more: Settings) -> None:
    one, plain = results(configured(rule, **more)), results(configured("none", **more))
    assert shown(one) == shown(plain)


def test_lambda_0_is_local_training() -> None:
    cfg = configured("ditto", personal__lambda_=0.0, personal__steps=3,
                     federation__participation=1.0)  # fmt: skip
    state = results(cfg)[-1].state
    wanted = alone(cfg, 2, [0, 1, 2, 3], "personal_batches")
    torch.testing.assert_close(state.clients.of(2)[MODEL], wanted, rtol=1e-4, atol=1e-5)


def test_a_strong_pull_holds_the_own_model_at_the_shared_one() -> None:
    """eta lambda = 1: after each step v is w less one gradient."""
    weak, strong = (
        results(configured("ditto", personal__lambda_=pull, local__lr=0.05))[-1].state
        for pull in (0.0, 20.0)
    )
    client = min(weak.participants)
    far, near = (float((s.clients.of(client)[MODEL] - s.params).norm()) for s in (weak, strong))
    assert near < far


# --- who judges -----------------------------------------------------------------------------------


def test_clients_judge_by_hand() -> None:
    cfg = configured("none", personal__judged=True)
    fed = federation(cfg)
    result = results(cfg, fed)[-1]
    assert fed.val is not None
    labels = fed.val.labels.numpy()
    split = split_like(labels, fed.class_counts, stream(cfg.seed, "judge_val"))
    fed.model.flat.copy_(result.state.params)
    hits = fed.model.module(fed.val.batch(torch.arange(len(labels)))).argmax(1).numpy() == labels
    each = [hits[own].mean() for own in split if len(own)]
    for whose in ("personal", "global"):
        assert result.metrics[f"val_{whose}_mean"] == pytest.approx(np.mean(each))
        assert result.metrics[f"val_{whose}_worst"] == min(each)
        assert result.metrics[f"val_{whose}_p10"] == pytest.approx(np.percentile(each, 10))
    assert class_counts(labels, split, fed.class_counts.shape[1]).sum() == len(labels)


def test_who_never_took_part_gets_the_mean_head() -> None:
    cfg = configured("fedper", rounds=1)
    fed = federation(cfg)
    state = results(cfg, fed)[-1].state
    run = Run.of(cfg, fed)
    assert run.part is not None
    owners = sorted(state.participants)
    weights = torch.tensor([float(len(fed.shards[c])) for c in owners])
    heads = torch.stack([state.clients.of(c)[PART] for c in owners])
    wanted = (weights[:, None] * heads).sum(0) / weights.sum()
    model = shared_model(run, state)
    torch.testing.assert_close(model[run.part], wanted)
    assert bits(model[~run.part]) == bits(state.params[~run.part])
    assert bits(shared_model(run, start(fed))) == bits(start(fed).params)


def test_nobody_has_a_part_by_default() -> None:
    assert table.personal_of(TrialConfig().personal) is NOBODY
    assert TrialConfig().judged_by == "val_accuracy"
    assert configured("ditto").judged_by == "val_personal_mean"
