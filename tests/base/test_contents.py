"""A file and a folder named by what is in them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from fl_core.base import contents
from fl_core.base.contents import content, forget_contents, listing
from fl_core.config.own import content_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {"b/1.png": "one", "a.txt": "two", "b/c/2.png": "three"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    forget_contents()
    return tmp_path


def test_a_file_is_its_bytes(folder: Path) -> None:
    file = folder / "a.txt"
    assert content_of(str(file), "data.path") == f"sha256:{hashlib.sha256(b'two').hexdigest()}"
    file.write_text("three")
    assert content(str(file)) == hashlib.sha256(b"three").hexdigest()


def test_a_folder_lists_what_is_not_hidden(folder: Path) -> None:
    (folder / ".DS_Store").write_text("hidden")
    (folder / ".git").mkdir()
    (folder / ".git" / "x").write_text("hidden")
    assert listing(str(folder)).sizes == {"a.txt": 3, "b/1.png": 3, "b/c/2.png": 5}


def test_whatever_changes_gives_another_name_and_a_copy_the_same(folder: Path) -> None:
    def name() -> str:
        forget_contents()
        return content(str(folder))

    names = [name()]
    os.utime(folder / "a.txt", (1, 1))
    assert name() == names[0]
    (folder / "a.txt").write_text("2")
    names.append(name())
    (folder / "a.txt").rename(folder / "d.txt")
    names.append(name())
    (folder / "b/3.png").write_text("")
    names.append(name())
    (folder / "b/1.png").unlink()
    names.append(name())
    assert len(set(names)) == len(names)


def test_it_is_read_once_while_nothing_changes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    real = contents._sha256
    monkeypatch.setattr(contents, "_sha256", lambda path: read.append(path) or real(path))
    clock = [0.0]
    monkeypatch.setattr(contents.time, "monotonic", lambda: clock[0])
    before = content(str(folder))
    for _ in range(100):
        clock[0] += 1
        assert content(str(folder)) == before
    assert len(read) == 3
    (folder / "a.txt").write_text("another")
    clock[0] += contents.PAUSE
    assert content(str(folder)) != before
    assert len(read) == 6


def test_what_cannot_be_read_is_one_line_that_names_it(folder: Path) -> None:
    (folder / "b" / "broken").symlink_to(folder / "nowhere")
    with pytest.raises(Exception, match=r"^data.path='.*': cannot be read \(.*broken: No such"):
        content_of(str(folder), "data.path")
