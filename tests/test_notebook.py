"""The notebook: what its cells show is what they do, without this machine's paths or warnings."""

from __future__ import annotations

import builtins
import json
import sys
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
from pages import ROOT

from fl_core.study.result import Result
from fl_core.study.screen import console
from studies import load_study

FILE = ROOT / "docs" / "colab.ipynb"
CELLS = json.loads(FILE.read_text("utf-8"))["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]


def test_it_was_executed_in_order_and_is_small() -> None:
    counts = [cell["execution_count"] for cell in CELLS if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(CODE) + 1))
    assert FILE.stat().st_size < 500_000


def test_what_it_shows_is_of_no_machine() -> None:
    """Colab's folder, no warning, no error, a clean commit; a table and two figures."""
    outputs = [output for cell in CELLS for output in cell.get("outputs", ())]
    shown = json.dumps([o for o in outputs if "image/png" not in o.get("data", {})])
    assert not any(word in shown for word in ("/tmp", "/home", "/root", "Traceback", "-dirty"))
    assert not any(o["output_type"] == "error" or o.get("name") == "stderr" for o in outputs)
    assert "<table" in shown
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2


def test_lines_are_plain_in_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its stdout says that it is a terminal: a moving line would be thousands of outputs."""
    shell = type("ZMQInteractiveShell", (), {})
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert console().is_terminal
    monkeypatch.setattr(builtins, "get_ipython", shell, raising=False)
    assert not console().is_terminal


@pytest.mark.soak
def test_its_cells_run(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With two arms and a trial each; what IPython would show goes into a list."""
    study, shown = load_study("fedavg_noniid"), list[object]()
    tiny = replace(
        study.presets["smoke"],
        budget=16,
        eval_steps=8,
        trials=1,
        arms=[study.arms[0], study.arms[3]],
    )
    place = ModuleType("fl_studies.fedavg_noniid")
    place.STUDY = replace(study, presets={"smoke": tiny})  # type: ignore[attr-defined]
    display = ModuleType("IPython.display")
    display.Image = lambda path, width: path  # type: ignore[attr-defined]
    display.display = shown.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, place.__name__, place)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for code in CODE:
        if "IPython" in code:  # not before: matplotlib and rich ask more of it than there is
            for module in (ModuleType("IPython"), display):
                monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(code, names)
    result = names["result"]
    assert isinstance(result, Result)
    assert len(result.table) == 2
    assert "<table" in result._repr_html_()
    assert [path.stem for path in shown] == ["accuracy", "curves"]  # type: ignore[attr-defined]
