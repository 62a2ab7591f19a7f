"""`--fields` shows what `--set` takes: all, or those that a text names."""

from __future__ import annotations

import doctest

import pytest

from fl_core.config.trial_config import TrialConfig
from fl_core.study import field_list, options
from studies import load_study


def shown(capsys: pytest.CaptureFixture[str], *text: str) -> list[str]:
    """What is printed, a line each where it goes into a pipe."""
    with pytest.raises(SystemExit) as stop:
        options.parse(load_study("fedavg_iid"), ["--fields", *text])
    assert not stop.value.code
    return capsys.readouterr().out.splitlines()


def test_all_fields_have_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys)
    assert [line.partition("=")[0] for line in lines] == list(TrialConfig().to_flat())
    (rate,) = [line for line in lines if line.startswith("local.lr=")]
    assert rate == "local.lr=0.1  (0, 1e+06]: learning rate of the clients"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("local.batch", ["local.batch_size", "head.local.batch_size"]),
        ("Mask.Sp", ["mask.sparsity", "mask.sparsity_end"]),
        ("learning_rate", ["local.lr"]),
        ("N_c", ["federation.classes_per_client"]),
    ],
)
def test_a_text_chooses(text: str, names: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert [line.partition("=")[0] for line in shown(capsys, text)] == names


def test_a_terminal_gets_paragraphs_that_fit() -> None:
    lines = "\n".join(field_list.listed(field_list.matching(""), 60)).splitlines()
    assert max(map(len, lines)) <= 60


def test_doctests() -> None:
    assert not doctest.testmod(field_list).failed
