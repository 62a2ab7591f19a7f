"""A wheel holds all of the four packages; what pyproject.toml forgets is missing elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: Folders here, and the names under which they are imported: none that other packages use.
PACKAGES = {
    "fl_core": "fl_core",
    "search_spaces": "search_spaces",
    "analysis": "fl_analysis",
    "studies": "fl_studies",
}


def files(folder: Path) -> set[str]:
    """Everything below a folder, but what Python leaves there itself."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an installation would put beside other packages, built without a network."""
    source = tmp_path_factory.mktemp("source")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    build = "from setuptools.build_meta import build_wheel; build_wheel('dist')"
    command = [sys.executable, "-c", build]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (source / "dist").glob("*.whl")
    target = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def test_every_file_is_there(unpacked: Path) -> None:
    for folder, package in PACKAGES.items():
        assert files(unpacked / package) == files(ROOT / folder)
    for part in ("fl_core/models/embedded", "fl_analysis/tables/published", "fl_analysis/page"):
        assert any(not name.endswith(".py") for name in files(unpacked / part)), part
    assert (unpacked / "fl_core" / "py.typed").is_file()
    others = {path.name for path in unpacked.iterdir()} - set(PACKAGES.values())
    assert all(name.endswith(".dist-info") for name in others), others


def test_it_works_where_it_was_unpacked(unpacked: Path, tmp_path: Path) -> None:
    """The packages are found there and nowhere else, and so is what they read."""
    code = (
        "import fl_core, fl_analysis\n"
        "from pathlib import Path\n"
        "from fl_core.base.machine import Machine\n"
        "from fl_core.config.trial_config import TrialConfig\n"
        "from fl_core.models.features import extract_features\n"
        "from fl_analysis.tables import published\n"
        "no = Path('no')\n"
        "found = extract_features(TrialConfig(), Machine(data_dir=no, cache_dir=no))\n"
        "assert len(found.labels)\n"
        "assert len(published.published())\n"
        "print(fl_core.__file__, fl_analysis.__file__, sep='\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert all(line.startswith(str(unpacked)) for line in done.stdout.splitlines()), done.stdout


@pytest.mark.soak
def test_its_command_runs_a_study_far_from_the_sources(unpacked: Path, tmp_path: Path) -> None:
    """`fl-study`, as an installer makes it: a study that comes along, and its report."""
    script = tmp_path / "bin" / "fl-study"
    script.parent.mkdir()
    (entry,) = unpacked.glob("*.dist-info/entry_points.txt")
    assert "fl-study = fl_core.study.console:main" in entry.read_text()
    script.write_text("import sys\nfrom fl_core.study.console import main\nsys.exit(main())\n")
    here = tmp_path / "work"
    here.mkdir()
    smoke = ["run", "fedavg_iid", "--preset", "smoke", "--serial", "--trials", "2"]
    for command in (smoke, ["report"], ["tables"]):
        done = subprocess.run(
            [sys.executable, str(script), *command], cwd=here, capture_output=True, text=True,
            check=False, env={**os.environ, "PYTHONPATH": str(unpacked)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert (here / "results" / "fedavg_iid" / "table.md").is_file()
    assert (here / "results" / "report.html").is_file()
    assert "fl-study run fedavg_iid --preset smoke" in (here / "results/report.html").read_text()
