"""Folders for Ray's own files: private, gone at the end, and nobody else's are touched."""

from __future__ import annotations

import stat
import tempfile
from pathlib import Path

import pytest
from filelock import FileLock

from fl_core.base.errors import UserError
from fl_core.study.workers import scratch
from fl_core.study.workers.scratch import base_of_ray, private_folder


def test_a_folder_is_private_and_goes_away(tmp_path: Path) -> None:
    names = set()
    for _ in range(3):
        with private_folder(tmp_path) as folder, private_folder(tmp_path) as other:
            assert folder.parent == tmp_path
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert folder.exists(), "another study has swept it"
            assert other.exists()
            names |= {folder.name, other.name}
        assert list(tmp_path.iterdir()) == []
    assert len(names) == 6


def test_what_a_killed_study_left_goes_away(tmp_path: Path) -> None:
    left = tmp_path / f"{scratch.PREFIX}left"
    left.mkdir(mode=0o700)
    (left / scratch.LOCK).touch()
    (left / "session").mkdir()
    with private_folder(tmp_path):
        assert not left.exists()


def test_what_is_not_ours_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever stands in a folder where everybody may write: no study ends because of it."""
    outside = tmp_path / "precious"
    base = tmp_path / "tmp"
    for folder in (outside, base):
        folder.mkdir(mode=0o700)
    open_to_all = base / f"{scratch.PREFIX}open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    (base / f"{scratch.PREFIX}link").symlink_to(outside)
    (base / f"{scratch.PREFIX}file").touch()
    (base / f"{scratch.PREFIX}{'9' * 30}-x").symlink_to("nowhere")
    (base / "fl-tune-foo-bar").mkdir()
    living = base / f"{scratch.PREFIX}living"
    living.mkdir(mode=0o700)
    before = sorted(base.iterdir())
    with FileLock(living / scratch.LOCK), private_folder(base) as folder:
        assert sorted(base.iterdir()) == sorted([*before, folder])
    monkeypatch.setattr(scratch.os, "geteuid", lambda: -1)  # of another user
    with private_folder(base):
        assert living.exists()
    assert outside.exists()


def test_no_room_for_one_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    wanted = r"file/sub: no folder for temporary files can be made there \(.*; name another"
    with pytest.raises(UserError, match=wanted), private_folder(tmp_path / "file" / "sub"):
        pass


def test_ray_lies_where_its_sockets_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", "/scratch/slurm/job-12345678/tmp")
    assert base_of_ray() == Path("/tmp")
    monkeypatch.setattr(tempfile, "tempdir", "/local/tmp")
    assert base_of_ray() == Path("/local/tmp")
    monkeypatch.setenv("RAY_TMPDIR", "/fast")
    assert base_of_ray() == Path("/fast")
