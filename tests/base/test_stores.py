"""A SQLite URI that can hold no store is refused before any work, in one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fl_core.base.errors import UserError
from fl_core.base.stores import check_sqlite, sqlite_file


def test_which_file() -> None:
    assert sqlite_file("sqlite:////a/b.db") == Path("/a/b.db")
    assert sqlite_file("sqlite:///b.db") == Path("b.db")
    assert sqlite_file("sqlite:////a#1/b.db?timeout=9") == Path("/a#1/b.db")
    assert sqlite_file("http://host:5000") is None


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("sqlite://", "would end with this process"),
        ("sqlite:///", "would end with this process"),
        ("sqlite:///:memory:", "would end with this process"),
        ("sqlite:///file:x?mode=memory&uri=true", "would end with this process"),
        ("sqlite://tmp/x.db", "three slashes"),
        ("sqlite:///{}", "is a folder; give a file"),
        ("sqlite:///{}/pipe", "not a file"),
        ("sqlite:///{}/loop/x.db", "cannot be used"),
        ("sqlite:///{}/loop", "cannot be used"),
        ("sqlite:///{}/file/x.db", "cannot be used"),
        ("sqlite:///{}/" + "n" * 300, "File name too long"),
        ("sqlite:///{}/" + "n" * 240, "longer than 200 bytes"),
        ("sqlite:////proc/x/mlflow.db", "cannot be used"),
    ],
)
def test_refused(tmp_path: Path, uri: str, words: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=words) as refusal:
        check_sqlite(uri.format(tmp_path))
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).startswith("--tracking-uri sqlite://")


def test_taken(tmp_path: Path) -> None:
    (tmp_path / "there.db").touch()
    (tmp_path / "link").symlink_to(tmp_path / "not yet")
    for name in ("there.db", "new.db", "a/b/c.db", "link"):
        check_sqlite(f"sqlite:///{tmp_path / name}")
