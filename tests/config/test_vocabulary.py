"""The vocabulary: true of the configuration, complete for a trial's record, light to import."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import pytest
from other_values import TEXT
from toy import config, machine_of, write_features

from fl_core.config import vocabulary
from fl_core.config.mask_section import RULES
from fl_core.config.record import METRICS
from fl_core.config.titles import METHOD
from fl_core.config.trial_config import TrialConfig, Value
from fl_core.config.vocabulary import FIELDS, FISHER_RULES, SHARDING, arm_name, compact
from fl_core.data.catalogue import DATA_SETS, TEXTS
from fl_core.federated.ledger import Ledger
from fl_core.models import features
from fl_core.study.jobs import Job
from fl_core.study.trial_files import Places
from fl_core.study.workers.run_job import run_job


def test_doctests() -> None:
    result = doctest.testmod(vocabulary)
    assert result.attempted
    assert not result.failed


def test_every_entry_is_of_a_field_that_there_is() -> None:
    assert {*FIELDS, *SHARDING} <= {METHOD, *TrialConfig().to_flat()}
    assert set(FISHER_RULES) < set(RULES)


def test_no_two_fields_are_shown_alike() -> None:
    """One column is one thing, of fields with an entry and of those without."""
    shown = [compact(name) for name in TrialConfig().to_flat()]
    assert len(set(shown)) == len(shown)


@pytest.mark.parametrize("name", DATA_SETS)
def test_data_sets_can_be_asked_for(name: str) -> None:
    values = {"data.name": name, **(TEXT if name in TEXTS else {})}
    assert TrialConfig().override(values).data.name == name


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ({"federation.sharding": "dirichlet", "federation.alpha": 0.3}, "Dir(0.3)"),
        ({"federation.sharding": "dirichlet_labels", "federation.alpha": 0.3}, "label Dir(0.3)"),
        ({"local.steps": 4, "federation.sharding": "iid"}, "J=4, iid"),
        ({"federation.sharding": "iid", "federation.classes_per_client": None}, "iid"),
        ({"mask.rule": "random", "mask.hybrid_weight": None}, "random"),
        ({"mask.rule": "hybrid", "mask.hybrid_weight": 0.5}, "hybrid, w=0.5"),
        ({"head.method": "ridge", "server.lr": 0.123456}, "head.method=ridge, server.lr=0.123456"),
        ({"schedule.name": "cosine", "local.lr": 0.1}, "schedule=cosine, lr=0.1"),
        ({"local.rule": "plain", "server.lr": 1.0}, "FedAvg, server.lr=1.0"),
        (
            {"server.optimiser": "adam", "local.rule": "prox", "local.mu": 0.1},
            "FedProx + FedAdam, local.mu=0.1",
        ),
        ({"local.rule": "my:rule", "aggregate.rule": "mean"}, "my:rule, mean"),
        ({}, "all"),
    ],
)
def test_names_of_arms(setting: dict[str, Value], name: str) -> None:
    assert arm_name(setting) == name


@pytest.mark.parametrize("scope", [None, "shared", "per_client"])
def test_the_ledger_s_totals_have_entries(scope: str | None) -> None:
    assert Ledger(4, scope, {}).totals.keys() <= METRICS.keys()


@pytest.mark.parametrize("scope", ["shared", "per_client"])
def test_every_number_of_a_record_has_an_entry(scope: str, tmp_path: Path) -> None:
    """A confirmation of a masked trial has them all; a new metric must be added to METRICS."""
    machine = machine_of(tmp_path)
    write_features(machine.cache_dir)
    masked: dict[str, Any] = {"mask__sparsity": 0.5, "mask__scope": scope, "head__method": "ridge"}
    one = Job("confirm", 0, 1, config(**masked, mask__examples=16, rounds=2, eval_every=1))
    records = list(run_job(one, machine, Places(tmp_path / "t")))
    features._features.cache_clear()
    numbers = {
        name
        for record in records
        for name, value in record.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    assert "test_accuracy" in numbers
    assert numbers <= METRICS.keys()
