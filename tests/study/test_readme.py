"""README's own method does what README says: its text, run as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from toy import config, machine_of, plain, write_features

from fl_core.base.errors import ConfigError
from fl_core.trial import run_trial

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def own_rule() -> str:
    """The file `my_rules.py` as README prints it."""
    (text,) = [block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL)
               if "my_rules.py" in block]  # fmt: skip
    return text


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the user's file, importable as the command makes it."""
    (tmp_path / "my_rules.py").write_text(own_rule())
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_rules", raising=False)
    write_features(tmp_path / "cache")
    return tmp_path


def test_readmes_rule_is_fedprox_to_the_bit(place: Path) -> None:
    machine = machine_of(place)
    values = {"local__mu": 0.3, "local__momentum": 0.5}
    ours, theirs = (
        plain(list(run_trial(config(local__rule=rule, **values), machine)))
        for rule in ("prox", "my_rules:pulled")
    )
    assert ours == theirs
    assert plain(list(run_trial(config(local__momentum=0.5), machine))) != ours


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("my_rules:pushed", "my_rules has no pushed"),
        ("no_rules:pulled", "there is no module no_rules"),
        ("my_rules:LocalRule.x", "must be"),
    ],
)
def test_a_wrong_one_is_one_clear_line(place: Path, rule: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        list(run_trial(config(local__rule=rule), machine_of(place)))
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.soak
@pytest.mark.parametrize("how", [["--serial"], ["--workers", "2"]], ids=["serial", "ray"])
def test_readmes_command(how: list[str], place: Path) -> None:
    """As README prints it, with and without Ray, from the folder that holds the file."""
    (line,) = re.findall(r"^    python studies/(\S+ --set local\.rule=my_rules.*)$", README, re.M)
    study, *options = line.split()
    command = [sys.executable, str(ROOT / "studies" / study), *options, "--preset", "smoke", *how]
    done = subprocess.run([*command, "--out", "out"], cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (place / "out" / "table.csv").exists()
