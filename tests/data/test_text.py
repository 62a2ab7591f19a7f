"""Text: LEAF's alphabet, windows that repeat no target, roles, LEAF's samples, the bigram."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from fl_core.base.errors import ConfigError
from fl_core.base.machine import Machine
from fl_core.config.sections import DataConfig
from fl_core.data.bigram import bigram, bigram_accuracy
from fl_core.data.catalogue import DATA_SETS
from fl_core.data.sets.shakespeare import main, parts_of_text, read_parts, roles_of
from fl_core.data.tasks import load_examples
from fl_core.data.text import (
    ALPHABET,
    LENGTH,
    NAMES,
    Part,
    decoded,
    encoded,
    split_text,
    thinned,
    windows,
)

SAID = "".join(ALPHABET[2 + 7 * i % 78] for i in range(700))  # no two windows are alike
OTHER = SAID[::-1]
PLAY = f"ANN:\n{SAID[:400]}\n\nBOB:\n{OTHER}\n\nANN:\n{SAID[401:]}\n\nCAT:\nToo short.\n"


def samples(text: str) -> dict[str, list[str]]:
    """As LEAF makes them: one a character."""
    starts = range(len(text) - LENGTH)
    return {"x": [text[i : i + LENGTH] for i in starts], "y": [text[i + LENGTH] for i in starts]}


def texts(part: Part, owner: int) -> list[str]:
    return [decoded(one) for one in part.windows[part.owners == owner]]


def test_the_alphabet_is_leafs() -> None:
    assert len(ALPHABET) == len(set(ALPHABET)) == len(NAMES) == 80
    assert decoded(encoded(ALPHABET)) == ALPHABET
    assert decoded(encoded("no $ é 漢")) == "no      "  # what is not in it is a space


def test_windows_have_every_character_as_a_target_once() -> None:
    codes = encoded(SAID)
    found = windows(codes, LENGTH)
    assert np.array_equal(found[:, 1:].ravel(), codes[1 : 1 + LENGTH * len(found)])
    assert len(found) == (len(codes) - 1) // LENGTH
    assert len(windows(codes[:LENGTH], 1)) == 0
    assert len(windows(codes, 1)) == len(codes) - LENGTH


def test_no_window_is_of_both_parts() -> None:
    train, test = split_text(encoded(SAID))
    assert decoded(train) + decoded(test) == SAID
    assert len(train) == int(0.8 * len(SAID))
    parts = parts_of_text(PLAY, 1)
    assert set(parts[True].owners) == set(parts[False].owners) == {0, 1}  # Cat says too little
    for owner in (0, 1):
        mine = " ".join([SAID[:400], SAID[401:]]) if owner == 0 else OTHER
        end = int(0.8 * len(mine))
        assert all(one in mine[:end] for one in texts(parts[True], owner))
        assert all(one in mine[end:] for one in texts(parts[False], owner))


def test_roles_speak_more_than_once() -> None:
    found = roles_of("A B:\none  two\nthree: four\n\nC:\nfive\n\nA B:\nsix\n\nseven")
    assert found == {"A B": "one two three: four six seven", "C": "five"}


def test_a_text_without_roles_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "prose.txt"
    file.write_text("It was the best of times,\nit was the worst of times.\n")
    with pytest.raises(ConfigError, match="the text has no roles") as caught:
        read_parts(file, LENGTH)
    assert "\n" not in str(caught.value)
    file.write_text("ANN:\nToo short.\n")
    with pytest.raises(ConfigError, match="no role says enough: each needs 81 characters"):
        read_parts(file, LENGTH)


def leaf_folder(root: Path, *, split: bool) -> Path:
    users = {"ANN": samples(SAID), "BOB": samples(OTHER)}
    if not split:
        (root / "all_data.json").write_text(json.dumps({"users": [*users], "user_data": users}))
        return root
    for part in ("train", "test"):
        (root / part).mkdir()
        for name, own in users.items():  # in several files, and users of one part alone
            first = int(0.8 * len(own["y"]))
            cut = slice(first) if part == "train" else slice(first + LENGTH - 1, None)
            data = {name: {key: values[cut] for key, values in own.items()}}
            extra = {f"only {part}": own}
            file = root / part / f"{name}.json"
            file.write_text(json.dumps({"user_data": {**data, **extra}}))
    return root


def table_of(root: Path, kind: str) -> Path:
    rows = [
        (name, x, y)
        for name, text in (("BOB", OTHER), ("ANN", SAID))
        for x, y in zip(*samples(text).values(), strict=True)
    ]
    path = root / f"table.{kind}"
    if kind == "csv":
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([("character_id", "x", "y"), *rows])
    else:
        import pandas as pd

        pd.DataFrame(rows, columns=["character_id", "x", "y"]).to_parquet(path)
    return path


@pytest.mark.parametrize("kind", ["split", "whole", "csv", "parquet"])
@pytest.mark.parametrize("stride", [1, LENGTH])
def test_leafs_samples(kind: str, stride: int, tmp_path: Path) -> None:
    if kind in ("split", "whole"):
        path = leaf_folder(tmp_path, split=kind == "split")
    else:
        path = table_of(tmp_path, kind)
    parts = read_parts(path, stride)
    gap = LENGTH - (kind == "split")  # LEAF's own test part starts a character earlier
    for owner, text in enumerate((SAID, OTHER)):
        first = int(0.8 * (len(text) - LENGTH))
        train = decoded(windows(encoded(text[: first + LENGTH]), stride).ravel())
        test = decoded(windows(encoded(text[first + gap :]), stride).ravel())
        assert "".join(texts(parts[True], owner)) == train
        assert "".join(texts(parts[False], owner)) == test


def test_every_run_of_samples_is_thinned_by_itself() -> None:
    text = windows(encoded(SAID), 1)
    rows = np.r_[0:10, 50:60, 60:63]  # a gap between two runs; another owner goes on
    owners = np.r_[np.zeros(20, int), np.ones(3, int)]
    kept = np.flatnonzero(thinned(text[rows], owners, 4))
    assert kept.tolist() == [0, 4, 8, 10, 14, 18, 20]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("x.csv", "character_id,x\nANN,a\n", "'y'"),
        ("x.csv", "character_id,x,y\nANN,short,a\n", "samples must be 80 characters"),
        ("train/x.json", "{}", "has neither train"),
        ("all_data.json", "{}", "'user_data'"),
        ("all_data.json", "no json", "cannot be read"),
        ("x.parquet", "no parquet", "cannot be read"),
        ("none.txt", None, "cannot be read"),
    ],
)
def test_other_files_are_one_line(name: str, content: str | None, why: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=re.escape(why)) as caught:
        read_parts(path if path.suffix != ".json" else tmp_path, LENGTH)
    assert "\n" not in str(caught.value)


def test_the_bigram_by_hand() -> None:
    text = np.array([[1, 2, 1, 3], [1, 2, 4, 1]], np.uint8)  # after 1: 2, 3, 2; after 2: 1, 4
    guess = bigram(text)
    assert guess[[1, 2, 4]].tolist() == [2, 1, 1]
    assert guess[9] == 1  # never seen: the most frequent target (1, 2: twice each)
    assert bigram_accuracy(guess, text) == (0.5, 4 / 6)


def test_the_text_that_ships_with_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = DATA_SETS["tinyshakespeare"]
    data = DataConfig(name="tinyshakespeare")
    for train, count in ((True, sizes.train), (False, sizes.test)):
        inputs, labels, owners = load_examples(data, Machine(), train=train)
        assert inputs.shape == (count, LENGTH + 1)
        assert (labels == inputs[:, -1]).all()
        assert owners is not None
        assert len(owners.unique()) == 193
    main([])
    told = capsys.readouterr().out
    assert "not LEAF's users" in told
    assert "bigram: 28.44% of the last characters, 28.81% of all" in told
