"""Shakespeare, next character: `tinyshakespeare`, which ships with the package, and `shakespeare`
of files of yours.

    tinyshakespeare  a part of the plays, as Karpathy's char-rnn has it. Clients by owner are its
                     speaking roles, NOT LEAF's users: those are roles of single plays, of all
                     plays; here the First Citizens of two plays are one.
    shakespeare      data.path is a text with roles ("ROLE:", below it what it says, an empty line),
                     LEAF's folder (train/*.json and test/*.json, or all_data*.json), or the file
                     of `flwrlabs/shakespeare` (.parquet or .csv: character_id, x, y).

As in LEAF (Caldas et al. 2018): 80 characters, windows of 80, runs of white space are one space,
the first 80 % of what a role says train and the rest tests, and roles without a window in both are
left out. What differs: windows start data.stride = 80 characters apart, see `fl_core.data.text`;
data.stride=1 takes all of LEAF's samples, whose validation split then is no longer one.

    python -m fl_core.data.sets.shakespeare [PATH]    # sizes, roles, and the bigram's accuracy
"""

from __future__ import annotations

import lzma
import re
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fl_core.base.errors import ConfigError
from fl_core.config.fields import refuse
from fl_core.config.sections import DataConfig
from fl_core.data.sets.leaf import leaf_parts, table_parts
from fl_core.data.task import Task
from fl_core.data.text import (
    ALPHABET,
    LENGTH,
    NAMES,
    Codes,
    Part,
    Parts,
    encoded,
    split_text,
    windows,
)

EMBEDDED = Path(__file__).with_name("tinyshakespeare.txt.xz")
#: "ROLE:" on a line of its own, and what it says.
_ROLE = re.compile(r"[^\n:]{1,60}:\n")


def tinyshakespeare(data: DataConfig) -> Task:
    """The task on the text that ships with the package."""
    return Task(len(ALPHABET), _load_embedded, "tokens", NAMES)


def shakespeare(data: DataConfig) -> Task:
    """The task on what lies at `data.path`."""
    return Task(len(ALPHABET), partial(_load, data), "tokens", NAMES)


def _load_embedded(folder: Path, *, train: bool) -> tuple[Tensor, ...]:
    text = lzma.decompress(EMBEDDED.read_bytes()).decode()
    return _tensors(parts_of_text(text, LENGTH), train)


def _load(data: DataConfig, folder: Path, *, train: bool) -> tuple[Tensor, ...]:
    return _tensors(read_parts(Path(data.path), data.stride), train)


def _tensors(parts: Parts, train: bool) -> tuple[Tensor, ...]:
    found, owners = parts[train]
    return torch.from_numpy(found), torch.from_numpy(found[:, -1].copy()), torch.from_numpy(owners)


def read_parts(path: Path, stride: int) -> Parts:
    """Both parts of the files there; a ConfigError of one line where they are none of these."""
    try:
        if path.is_dir():
            parts = leaf_parts(path, stride)
        elif path.suffix in (".parquet", ".csv"):
            parts = table_parts(path, stride)
        else:
            parts = parts_of_text(path.read_text("utf-8"), stride)
    except ConfigError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = " ".join(str(error).split())[:200]
        raise refuse("data.path", str(path), f"cannot be read ({why})") from error
    if not all(len(part.owners) for part in parts.values()):
        needs = f"no role says enough: each needs {LENGTH + 1} characters to train and to test"
        raise refuse("data.path", str(path), needs)
    return parts


def parts_of_text(text: str, stride: int) -> Parts:
    """Of a plain text with roles; owners are numbered by their names."""
    found: dict[bool, list[Codes]] = {True: [], False: []}
    owners: dict[bool, list[int]] = {True: [], False: []}
    for owner, (_, said) in enumerate(sorted(roles_of(text).items())):
        first, rest = split_text(encoded(said))
        both = {True: windows(first, stride), False: windows(rest, stride)}
        if all(map(len, both.values())):
            for train, one in both.items():
                found[train].append(one)
                owners[train] += [owner] * len(one)
    none = np.empty((0, LENGTH + 1), np.uint8)
    return {
        train: Part(np.concatenate([none, *found[train]]), np.array(owners[train], np.int64))
        for train in (True, False)
    }


def roles_of(text: str) -> dict[str, str]:
    """All that each role says, in the order of the text, white space as single spaces."""
    said: dict[str, list[str]] = {}
    role = None
    for block in re.split(r"\n\s*\n", text.strip()):
        if begins := _ROLE.match(block):
            role, block = begins.group()[:-2], block[begins.end() :]
        if role is not None:
            said.setdefault(role, []).extend(block.split())
    if not said:
        needs = 'the text has no roles: "ROLE:", below it what it says, an empty line'
        raise refuse("data.name", "shakespeare", needs)
    return {role: " ".join(words) for role, words in said.items()}


def main(argv: list[str] | None = None) -> None:
    """Print sizes, roles, and what predicting from the character before reaches."""
    import argparse

    from fl_core.data.bigram import bigram, bigram_accuracy

    parser = argparse.ArgumentParser(
        prog="python -m fl_core.data.sets.shakespeare", description=main.__doc__
    )
    parser.add_argument("path", nargs="?", type=Path, help="default: tinyshakespeare's roles")
    parser.add_argument("--stride", type=int, default=LENGTH)
    args = parser.parse_args(argv)
    if args.path is None:
        print("tinyshakespeare's speaking roles, not LEAF's users")
        text = lzma.decompress(EMBEDDED.read_bytes()).decode()
        parts = parts_of_text(text, args.stride)
    else:
        try:
            parts = read_parts(args.path, args.stride)
        except ConfigError as error:
            parser.exit(2, f"error: {error}\n")
    guess = bigram(parts[True].windows)
    for train, (found, owners) in parts.items():
        sizes = np.unique(owners, return_counts=True)[1]
        last, every = bigram_accuracy(guess, found)
        has = f"{sizes.min()} to {sizes.max()} (median {np.median(sizes):g})"
        print(
            f"{'train' if train else 'test'}: {len(found):,} windows of {LENGTH} characters; "
            f"{len(sizes)} roles, of {has} windows; "
            f"bigram: {last:.2%} of the last characters, {every:.2%} of all"
        )


if __name__ == "__main__":
    main()
