"""One client's tensors between rounds: in memory, in a file, or both. `memory.py` holds them."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from fl_core.base.cache import DamagedArtefact, load_artefact, save_artefact, tensor_digest
from fl_core.base.digests import digest_of


class File:
    """An entry on disk. It goes with the last entry that needs it, unless a checkpoint may, too."""

    #: One object a path: the end of another would remove a file that is in use.
    _alive: ClassVar[weakref.WeakValueDictionary[str, File]] = weakref.WeakValueDictionary()

    def __init__(self, path: Path, digest: str) -> None:
        self.path, self.digest = path, digest
        self._removal = weakref.finalize(self, _unlink, path)

    @classmethod
    def at(cls, path: Path, digest: str) -> File:
        """The object of a file that is there."""
        file = cls._alive.get(str(path))
        if file is None:
            file = cls._alive[str(path)] = cls(path, digest)
        return file

    def keep(self) -> None:
        """A checkpoint refers to it: only `forget_older` removes it."""
        self._removal.detach()


class Entry:
    """One client's tensors: in memory, in a file, or both. What they are never changes."""

    def __init__(
        self, client: int, round: int, tensors: dict[str, Tensor], file: File | None = None
    ) -> None:
        self.client, self.age = client, (round, client)
        self.file = file
        self.tensors: dict[str, Tensor] | None = tensors
        self.nbytes = sum(tensor.nbytes for tensor in tensors.values())
        self.device = next(iter(tensors.values())).device
        if any(tensor.device != self.device for tensor in tensors.values()):
            raise ValueError(f"client {client} keeps tensors on more than one device")

    @classmethod
    def of(cls, client: int, round: int, tensors: Mapping[str, Tensor]) -> Entry:
        """A copy, as callers use their buffers again."""
        return cls(client, round, {name: _copy(tensor) for name, tensor in tensors.items()})

    @cached_property
    def digest(self) -> str:
        """Of all names, types, shapes and bits."""
        if self.file is not None:
            return self.file.digest
        return digest_of({name: tensor_digest(t.cpu()) for name, t in self._in_memory().items()})

    def equals(self, other: Entry) -> bool:
        """Whether names, types, shapes, device and bits are the same."""
        if self.device != other.device:
            return False
        if self.tensors is None or other.tensors is None:
            return self.digest == other.digest
        return self.tensors.keys() == other.tensors.keys() and all(
            _same_bits(tensor, other.tensors[name]) for name, tensor in self.tensors.items()
        )

    def read(self) -> dict[str, Tensor]:
        """Copies, on the device of the originals."""
        tensors = self.peek()
        return tensors if self.tensors is None else {n: _copy(t) for n, t in tensors.items()}

    def peek(self) -> dict[str, Tensor]:
        """To be read only: from memory they are the originals."""
        if self.tensors is not None:
            return self.tensors
        assert self.file is not None, "without a file it is in memory"
        tensors, _ = read_entry(self.file.path, self.file.digest)
        return {name: tensor.to(self.device) for name, tensor in tensors.items()}

    def write(self, folder: Path) -> File:
        """The file, written unless it is there."""
        if self.file is None:
            round, client = self.age
            # the digest in the name: no file is ever overwritten by other content
            path = folder / f"{client}-{round}-{self.digest}.safetensors"
            save_artefact(path, self._in_memory(), {"round": round, "digest": self.digest})
            self.file = File.at(path, self.digest)
        return self.file

    def spill(self, folder: Path) -> None:
        """From now on it lies on disk alone."""
        self.write(folder)
        self.tensors = None

    def _in_memory(self) -> dict[str, Tensor]:
        assert self.tensors is not None, "without a file it is in memory"
        return self.tensors


def read_entry(path: Path, digest: str) -> tuple[dict[str, Tensor], int]:
    """(tensors, the round they are of); DamagedArtefact if they are not what the digest says."""
    tensors, meta = load_artefact(path)
    if meta.get("digest") != digest:
        raise DamagedArtefact(f"{path}: not the file that the checkpoint refers to")
    return tensors, meta["round"]


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def _same_bits(one: Tensor, other: Tensor) -> bool:
    """Bytes are compared: NaN is equal to itself, 0.0 is not -0.0."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return torch.equal(*(tensor.reshape(-1).view(torch.uint8) for tensor in (one, other)))


def _unlink(path: Path) -> None:
    # it runs wherever the last reference went: a file that stays is `forget_older`'s
    with suppress(Exception):
        path.unlink()
