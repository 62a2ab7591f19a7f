"""What clients keep between rounds: control variates, parameters of their own, momentum.

A `ClientMemory` is a value: a round makes a new one, which shares with the older one whatever did
not change, and costs what did. Beyond a limit the entries that were written longest ago lie on disk
alone, so that resident memory stays bounded however many clients there are.

A checkpoint takes three steps, so that a kill at any moment leaves the old one or the new one
whole: `save` writes new files beside those that the older checkpoint refers to, the caller stores
the references that it returns, `forget_older` removes what these do not name.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fl_core.base.errors import UserError
from fl_core.base.locations import reason, remove_folder
from fl_core.base.persistent import Persistent
from fl_core.federated.memory_entry import Entry, File, read_entry

#: Bytes of the clients' tensors that stay in memory, where no other limit is asked for.
LIMIT = 512 * 2**20

Reference = tuple[int, str, str]  # client, file name, digest: what a checkpoint stores of an entry


class ClientMemory:
    """Immutable: client -> {name: tensor}, of the clients that keep something.

    An older one stays valid until `forget_older` of a later one.
    """

    def __init__(self, entries: Persistent[int, Entry], resident: _Resident) -> None:
        self._entries = entries
        self._folder, self._limit = resident.folder, resident.limit
        self._resident: _Resident | None = resident

    @classmethod
    def empty(cls, folder: Path | None = None, limit: int | None = None) -> ClientMemory:
        """Of nobody. None: a temporary folder, made when it is needed, gone with the memory."""
        return cls(Persistent(), _Resident((), _Folder(folder), LIMIT if limit is None else limit))

    @classmethod
    def load(
        cls,
        references: Iterable[Sequence[Any]],
        folder: Path,
        device: torch.device | str,
        limit: int | None = None,
    ) -> ClientMemory:
        """What `save` returned `references` for, its tensors on `device`.

        Every file is read and checked now, one at a time: DamagedArtefact if one is missing or
        not what it was.
        """
        entries: dict[int, Entry] = {}
        resident = _Resident((), _Folder(folder), LIMIT if limit is None else limit)
        for client, name, digest in references:
            tensors, round = read_entry(folder / name, digest)
            file = File.at(folder / name, digest)
            file.keep()
            on_device = {name: tensor.to(device) for name, tensor in tensors.items()}
            entries[client] = Entry(client, round, on_device, file)
            resident.add(entries[client])
        return cls(Persistent(entries), resident)

    def __contains__(self, client: object) -> bool:
        return client in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def clients(self) -> list[int]:
        """Those that keep something, in increasing order."""
        return sorted(self._entries)

    def of(self, client: int) -> dict[str, Tensor]:
        """Copies of a client's tensors, on the device they were given on; {} if it has none."""
        return self._entries[client].read() if client in self._entries else {}

    def fill(self, client: int, rows: Mapping[str, Tensor]) -> bool:
        """Write a client's tensors into those of the same names, zeros where it keeps none; whether
        it keeps any of them.
        """
        kept = self._entries[client].peek() if client in self._entries else {}
        for name, row in rows.items():
            row.copy_(kept[name]) if name in kept else row.zero_()
        return not kept.keys().isdisjoint(rows)

    def updated(self, kept: Mapping[int, Mapping[str, Tensor]], round: int) -> ClientMemory:
        """The memory after a round: of each client in `kept`, exactly what it keeps now."""
        keeper = Keeper(self)
        for client in sorted(kept):
            keeper.keep(client, round, kept[client])
        return keeper.memory()

    def save(self) -> list[Reference]:
        """Write what is not in the folder yet; return what a checkpoint must store for `load`."""
        references = []
        for client, entry in sorted(self._entries.items()):
            file = entry.write(self._folder.made())
            file.keep()
            references.append((client, file.path.name, file.digest))
        return references

    def forget_older(self) -> None:
        """Remove every file that this memory does not refer to, left-overs of kills included.

        Only once the checkpoint with this memory's references is safely written.
        """
        folder = self._folder.path
        own = {entry.file.path.name for entry in self._entries.values() if entry.file is not None}
        try:
            if folder is None or not folder.exists():
                return
            for path in list(folder.iterdir()):
                if path.name not in own:
                    path.unlink(missing_ok=True)
        except Exception as error:  # every file system of fsspec raises its own kinds
            raise UserError(f"{folder}: cannot be tidied ({reason(error)})") from error

    @staticmethod
    def remove(folder: Path) -> None:
        """The trial has ended: its clients' files are needed no more."""
        remove_folder(folder)

    def hand_over(self) -> _Resident:
        """Which entries are in memory, for the next version to go on with; looked up among all
        where it went to another one already.
        """
        resident, self._resident = self._resident, None
        return resident or _Resident(self._entries.values(), self._folder, self._limit)


class Keeper:
    """A memory on its way to the next one, a client at a time: each costs what it keeps, not a
    look at all the others.
    """

    def __init__(self, memory: ClientMemory) -> None:
        self._before = memory._entries
        self._kept: dict[int, Entry] = {}
        self._dropped: set[int] = set()
        self._resident = memory.hand_over()

    def keep(self, client: int, round: int, tensors: Mapping[str, Tensor]) -> None:
        """From now on the client keeps exactly these."""
        old = self._kept.pop(client, None)
        if old is None and client not in self._dropped:
            old = self._before.get(client)
        self._dropped.discard(client)
        self._resident.drop(client)
        if not tensors:
            self._dropped.add(client)
            return
        entry = Entry.of(client, round, tensors)
        # what has not changed needs no second copy, and no second file
        self._kept[client] = old if old is not None and old.equals(entry) else entry
        self._resident.add(self._kept[client])

    def memory(self) -> ClientMemory:
        """With all that was kept: the keeper's last word."""
        return ClientMemory(self._before.changed(self._kept, self._dropped), self._resident)


class _Folder:
    """Where files go: a folder that was named, or a temporary one that goes with the memory."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def made(self) -> Path:
        """The folder, now that it is needed."""
        if self.path is None:
            self.path = Path(tempfile.mkdtemp(prefix="fl-clients-"))
            weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)
        return self.path


class _Resident:
    """The entries in memory, oldest first: one that is added spills the oldest above the limit."""

    def __init__(self, entries: Iterable[Entry], folder: _Folder, limit: int) -> None:
        self.folder, self.limit = folder, limit
        in_memory = (entry for entry in entries if entry.tensors is not None)
        self._queue = {e.client: e for e in sorted(in_memory, key=lambda entry: entry.age)}
        self._bytes = sum(entry.nbytes for entry in self._queue.values())

    def drop(self, client: int) -> None:
        """Its entry, if it has one here, is no longer wanted."""
        entry = self._queue.pop(client, None)
        self._bytes -= 0 if entry is None else entry.nbytes

    def add(self, entry: Entry) -> None:
        if entry.tensors is None:
            return
        self._queue[entry.client] = entry
        self._bytes += entry.nbytes
        while self._bytes > self.limit:
            oldest = next(iter(self._queue))
            self._queue[oldest].spill(self.folder.made())
            self.drop(oldest)
