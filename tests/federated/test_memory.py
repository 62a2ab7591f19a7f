"""The clients' memory: a value, bit for bit, whatever lies on disk and whoever was killed."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from fl_core.base import cache
from fl_core.base.cache import DamagedArtefact
from fl_core.base.errors import UserError
from fl_core.base.locations import location
from fl_core.federated import memory_entry
from fl_core.federated.memory import ClientMemory

Values = dict[int, dict[str, Tensor]]
DTYPES = (torch.float32, torch.float64, torch.int64)
SHAPES = ((), (3,), (2, 2), (0,))
CPU = torch.device("cpu")


def entry(number: int, size: int = 100) -> dict[str, Tensor]:
    return {"variate": torch.full((size,), float(number)), "steps": torch.tensor(number)}


ONE = sum(tensor.nbytes for tensor in entry(0).values())


def copies(values: Mapping[int, Mapping[str, Tensor]]) -> Values:
    return {client: {n: t.clone() for n, t in kept.items()} for client, kept in values.items()}


def same_bits(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        tensor.dtype == other[name].dtype
        and tensor.shape == other[name].shape
        and tensor.device == other[name].device
        and tensor.numpy().tobytes() == other[name].numpy().tobytes()
        for name, tensor in one.items()
    )


def assert_holds(memory: ClientMemory, wanted: Values) -> None:
    assert memory.clients() == sorted(wanted)
    assert len(memory) == len(wanted)
    for client in range(-1, max(wanted, default=0) + 2):
        assert (client in memory) == (client in wanted)
        assert same_bits(memory.of(client), wanted.get(client, {}))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def through_json(references: list[Any]) -> Any:
    return json.loads(json.dumps(references))


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were written, in order."""
    files: list[str] = []

    def save(path: Path, *args: Any) -> None:
        files.append(path.name)
        cache.save_artefact(path, *args)

    monkeypatch.setattr(memory_entry, "save_artefact", save)
    return files


# --- against a plain dict of clones ---------------------------------------------------------------

CLIENTS = st.integers(0, 4)
WORDS = st.sampled_from([0.0, -0.0, 1.0, float("nan"), float("inf"), -2.5])


@st.composite
def tensors(draw: st.DrawFn) -> dict[str, Tensor]:
    found = {}
    for name in draw(st.sets(st.sampled_from(["variate", "momentum", "steps"]))):
        dtype, shape = draw(st.sampled_from(DTYPES)), draw(st.sampled_from(SHAPES))
        values = torch.full(shape, draw(WORDS), dtype=torch.float64)
        found[name] = values.to(dtype) if dtype.is_floating_point else torch.full(shape, 7)
    return found


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("updated"), st.dictionaries(CLIENTS, tensors(), max_size=4)),
        st.tuples(st.sampled_from(["again", "checkpoint", "written, then killed", "saved, then "
                                   "killed", "killed"]), st.none()),
    ),
    max_size=12,
)  # fmt: skip


@settings(
    max_examples=150, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(steps=STEPS, limit=st.sampled_from([0, 8, 40, 10_000]))
def test_any_sequence_holds_the_same_bits(steps: list[tuple[str, Any]], limit: int) -> None:
    """Updates, checkpoints, and kills between any two steps of a checkpoint."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text) / "clients"
        memory, wanted = ClientMemory.empty(folder, limit), dict[int, dict[str, Tensor]]()
        stored: tuple[Any, Values] = ([], {})  # the checkpoint: references, and what they stand for
        kept: Values = {}
        for round, (step, value) in enumerate(steps):
            if step in ("updated", "again"):
                kept = copies(value) if step == "updated" else kept
                older = memory
                memory = memory.updated(kept, round)
                assert_holds(older, wanted)
                wanted = {client: old for client, old in wanted.items() if client not in kept}
                wanted |= {client: own for client, own in copies(kept).items() if own}
                continue
            if step != "killed":
                references = through_json(memory.save())
            if step in ("checkpoint", "written, then killed"):
                stored = references, copies(wanted)
            if step == "checkpoint":
                memory.forget_older()
                assert names(folder) == {name for _, name, _ in references}
            else:
                older = memory  # a kill removes nothing
                memory = ClientMemory.load(stored[0], folder, CPU, limit)
                wanted = copies(stored[1])
                assert_holds(memory, wanted)
                del older
            assert_holds(memory, wanted)
        assert_holds(memory, wanted)


def test_what_callers_do_with_their_tensors_changes_nothing(tmp_path: Path) -> None:
    """Buffers are used again, and a rule may work in place on what it is given."""
    for limit in (0, 10 * ONE):
        buffer = entry(1)
        memory = ClientMemory.empty(tmp_path, limit).updated({0: buffer}, 0)
        buffer["variate"].zero_()
        memory.of(0)["variate"].add_(1)
        assert_holds(memory, {0: entry(1)})


def test_the_order_of_clients_changes_nothing(tmp_path: Path) -> None:
    kept = {client: entry(client) for client in range(6)}
    saved = []
    for n, order in enumerate(([0, 1, 2, 3, 4, 5], [3, 5, 1, 0, 4, 2])):
        memory = ClientMemory.empty(tmp_path / str(n), 2 * ONE)
        memory = memory.updated({client: kept[client] for client in order}, 0)
        saved.append((names(tmp_path / str(n)), memory.save()))
        assert_holds(memory, kept)
    assert saved[0] == saved[1]
    assert len(saved[0][0]) == 4  # spilled before they were saved


def test_views_and_strides_and_gradients(tmp_path: Path) -> None:
    base = torch.arange(12.0, requires_grad=True)
    given = {"row": base[3:6], "turned": base.view(3, 4).T, "wide": base[:1].expand(5)}
    wanted = {name: tensor.detach().contiguous() for name, tensor in given.items()}
    for limit in (0, 10_000):
        memory = ClientMemory.empty(tmp_path, limit).updated({2: given}, 1)
        assert_holds(memory, {2: wanted})
        assert not memory.of(2)["row"].requires_grad


def test_a_device_of_one_client_is_one(tmp_path: Path) -> None:
    mixed = {"a": torch.zeros(2), "b": torch.zeros(2, device="meta")}
    with pytest.raises(ValueError, match=r"client 3 .* more than one device"):
        ClientMemory.empty(tmp_path).updated({3: mixed}, 0)


def test_loaded_on_the_device_that_is_asked_for(tmp_path: Path) -> None:
    references = ClientMemory.empty(tmp_path).updated({0: entry(0), 1: entry(1)}, 0).save()
    for limit in (0, 10 * ONE):
        memory = ClientMemory.load(references, tmp_path, "meta", limit)
        for client in (0, 1):
            found = memory.of(client)
            assert {name: (t.device.type, t.dtype) for name, t in found.items()} == {
                "variate": ("meta", torch.float32), "steps": ("meta", torch.int64)
            }  # fmt: skip


def test_equal_bits_on_another_device_are_a_change(tmp_path: Path) -> None:
    references = ClientMemory.empty(tmp_path).updated({0: entry(0)}, 0).save()
    elsewhere = ClientMemory.load(references, tmp_path, "meta", 0)
    assert_holds(elsewhere.updated({0: entry(0)}, 1), {0: entry(0)})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_tensors_come_back_to_the_gpu(tmp_path: Path) -> None:
    given = {name: tensor.cuda() for name, tensor in entry(5).items()}
    for limit in (0, 10 * ONE):
        memory = ClientMemory.empty(tmp_path, limit).updated({0: given}, 0)
        again = ClientMemory.load(memory.save(), tmp_path, "cuda", limit)
        for one in (memory, again):
            assert all(tensor.is_cuda for tensor in one.of(0).values())
            assert same_bits({n: t.cpu() for n, t in one.of(0).items()}, entry(5))


# --- what is written ------------------------------------------------------------------------------


def test_a_checkpoint_writes_what_changed_since_the_last(
    tmp_path: Path, written: list[str]
) -> None:
    memory = ClientMemory.empty(tmp_path).updated({c: entry(c) for c in range(8)}, 0)
    assert written == []  # all of it is in memory
    first = memory.save()
    assert written == [name for _, name, _ in first]
    assert len(written) == 8
    written.clear()
    assert memory.save() == first
    memory = memory.updated({2: entry(20), 5: entry(50)}, 1).updated({5: entry(51), 7: {}}, 2)
    second = memory.save()
    assert [name.split("-")[:2] for name in written] == [["2", "1"], ["5", "2"]]
    assert [one for one in second if one in first] == [one for one in first if one[0] not in
                                                      (2, 5, 7)]  # fmt: skip
    written.clear()
    memory.forget_older()
    loaded = ClientMemory.load(through_json(second), tmp_path, CPU)
    assert loaded.save() == second
    loaded.updated({0: entry(90)}, 3).save()
    assert [name.split("-")[:2] for name in written] == [["0", "3"]]


def test_an_entry_is_written_once_spilled_or_saved(tmp_path: Path, written: list[str]) -> None:
    memory = ClientMemory.empty(tmp_path, 2 * ONE)
    for client in range(6):
        memory = memory.updated({client: entry(client)}, client)
    assert [name[0] for name in written] == ["0", "1", "2", "3"]  # the oldest first
    memory.save()
    assert [name[0] for name in written] == ["0", "1", "2", "3", "4", "5"]


@pytest.mark.parametrize("limit", [0, ONE, 10 * ONE])
def test_equal_bits_are_written_once(limit: int, tmp_path: Path, written: list[str]) -> None:
    memory = ClientMemory.empty(tmp_path, limit).updated({0: entry(0), 1: entry(1)}, 0)
    references = memory.save()
    again = memory.updated({1: entry(1), 0: entry(0)}, 1)
    assert again.save() == references
    assert len(written) == 2
    assert_holds(again, {0: entry(0), 1: entry(1)})


def test_a_zero_of_the_other_sign_is_a_change(tmp_path: Path, written: list[str]) -> None:
    memory = ClientMemory.empty(tmp_path)
    for round, value in enumerate((0.0, -0.0, float("nan"), float("nan"))):
        memory = memory.updated({0: {"w": torch.full((3,), value)}}, round)
        memory.save()
    assert len(written) == 3


def test_files_of_superseded_entries_go(tmp_path: Path) -> None:
    """Long before the next checkpoint; those that the last one refers to stay."""
    memory = ClientMemory.empty(tmp_path, 0).updated({0: entry(0), 1: entry(1)}, 0)
    stored = {name for _, name, _ in memory.save()}
    for round in range(1, 5):
        older, memory = memory, memory.updated({0: entry(10 * round)}, round)
        assert len(names(tmp_path) - stored) == (1 if round == 1 else 2)
        assert stored <= names(tmp_path)
        assert same_bits(older.of(0), entry(10 * round - 10))
        del older
        assert len(names(tmp_path) - stored) == 1
    del memory
    assert names(tmp_path) == stored


def test_two_memories_of_one_folder(tmp_path: Path) -> None:
    """A trial that goes on in the process of the one that was stopped, which still has objects."""
    start = ClientMemory.empty(tmp_path, 0).updated({0: entry(0)}, 0)
    references = start.save()
    stopped = start.updated({0: entry(1)}, 1)
    again = ClientMemory.load(references, tmp_path, CPU, 0).updated({0: entry(1)}, 1)
    del start, stopped
    assert_holds(again, {0: entry(1)})
    references = again.save()
    again.forget_older()
    assert names(tmp_path) == {references[0][1]}
    del again
    assert_holds(ClientMemory.load(references, tmp_path, CPU), {0: entry(1)})


def test_no_later_round_touches_what_the_checkpoint_refers_to(tmp_path: Path) -> None:
    """Nor a round of the same number, as of a run on another kind of device."""
    references = ClientMemory.empty(tmp_path, 0).updated({0: entry(0), 1: entry(1)}, 3).save()
    for value in (5, 6):
        memory = ClientMemory.load(references, tmp_path, CPU, 0)
        assert_holds(memory, {0: entry(0), 1: entry(1)})
        memory = memory.updated({0: entry(value), 1: {}}, 3)
        memory.save()
        assert_holds(memory, {0: entry(value)})


def test_forgetting_takes_left_overs_of_kills(tmp_path: Path) -> None:
    memory = ClientMemory.empty(tmp_path, ONE).updated({0: entry(0), 1: entry(1)}, 3)
    references = memory.save()
    (tmp_path / "0-9-0123456789abcdef.safetensors").write_bytes(b"of a round that is lost")
    (tmp_path / f".{references[0][1]}.1234").write_bytes(b"half")
    memory.forget_older()
    assert names(tmp_path) == {name for _, name, _ in references}
    assert_holds(memory, {0: entry(0), 1: entry(1)})
    nobody = ClientMemory.empty(tmp_path)
    assert nobody.save() == []
    nobody.forget_older()
    assert names(tmp_path) == set()
    ClientMemory.empty(tmp_path / "none").forget_older()


def test_the_folder_of_an_ended_trial_goes(tmp_path: Path) -> None:
    folder = tmp_path / "clients"
    memory = ClientMemory.empty(folder, 0).updated({0: entry(0)}, 0)
    ClientMemory.remove(folder)
    assert not folder.exists()
    ClientMemory.remove(folder)
    del memory  # what is left of it has nothing to remove, and says nothing


def test_a_disk_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    memory = ClientMemory.empty(tmp_path / "file").updated({0: entry(0)}, 0)
    with pytest.raises(UserError, match="file: cannot be tidied"):
        memory.forget_older()
    with pytest.raises(UserError, match="cannot be written"):
        memory.save()
    assert_holds(memory, {0: entry(0)})  # nothing is lost by it


# --- damage ---------------------------------------------------------------------------------------


def test_damage_of_one_byte_is_noticed(tmp_path: Path) -> None:
    memory = ClientMemory.empty(tmp_path, 0).updated({0: entry(0, 3), 1: entry(1, 3)}, 0)
    references = memory.save()
    path = tmp_path / references[1][1]
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    for place in range(start, len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(DamagedArtefact, match=path.name):
            ClientMemory.load(references, tmp_path, CPU)
        with pytest.raises(DamagedArtefact, match=path.name):
            memory.of(1)
    path.write_bytes(content)
    assert_holds(ClientMemory.load(references, tmp_path, CPU), {0: entry(0, 3), 1: entry(1, 3)})


@pytest.mark.parametrize("damage", ["missing", "short", "another client's", "other digest"])
def test_a_file_that_is_not_the_one(damage: str, tmp_path: Path) -> None:
    memory = ClientMemory.empty(tmp_path).updated({0: entry(0), 1: entry(1)}, 0)
    references = memory.save()
    path, other = (tmp_path / name for _, name, _ in references)
    if damage == "missing":
        path.unlink()
    elif damage == "short":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "another client's":  # whole, but not what the checkpoint refers to
        path.write_bytes(other.read_bytes())
    else:
        references[0] = (0, path.name, "0" * 16)
    with pytest.raises(DamagedArtefact, match=path.name):
        ClientMemory.load(references, tmp_path, CPU)
    assert other.exists()


# --- what is resident -----------------------------------------------------------------------------


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> weakref.WeakSet[Any]:
    """Every tensor that a memory holds or hands out and that is still in use."""
    found: weakref.WeakSet[Any] = weakref.WeakSet()
    made = memory_entry._copy
    load = memory_entry.load_artefact

    def copy(tensor: Tensor) -> Tensor:
        found.add(result := made(tensor))
        return result

    def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors, meta = load(path)
        for tensor in tensors.values():
            found.add(tensor)
        return tensors, meta

    monkeypatch.setattr(memory_entry, "_copy", copy)
    monkeypatch.setattr(memory_entry, "load_artefact", read)
    return found


@pytest.mark.parametrize("resident", [0, 1, 3])
def test_no_more_is_resident_than_the_limit(
    resident: int, tmp_path: Path, live: weakref.WeakSet[Any]
) -> None:
    gc.disable()  # nothing waits for it
    try:
        limit = resident * ONE
        memory = ClientMemory.empty(tmp_path, limit)
        for round in range(6):
            memory = memory.updated({c: entry(10 * round + c) for c in range(round, 7)}, round)
            assert len(live) == 2 * resident
        wanted = {c: entry(10 * min(c, 5) + c) for c in range(7)}
        assert_holds(memory, wanted)
        references = memory.save()
        memory.forget_older()
        assert len(live) == 2 * resident
        del memory
        assert len(live) == 0
        memory = ClientMemory.load(references, tmp_path, CPU, limit)
        assert len(live) == 2 * resident
        assert_holds(memory, wanted)
        assert len(live) == 2 * resident
    finally:
        gc.enable()


def test_at_most_one_more_while_a_round_is_taken_in(
    tmp_path: Path, live: weakref.WeakSet[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 0
    save = memory_entry.save_artefact

    def count(*args: Any) -> None:
        nonlocal most
        most = max(most, len(live))
        save(*args)

    monkeypatch.setattr(memory_entry, "save_artefact", count)
    ClientMemory.empty(tmp_path, ONE).updated({c: entry(c) for c in range(20)}, 0)
    assert most == 2 * 2


def test_what_stays_is_what_was_written_last(tmp_path: Path, written: list[str]) -> None:
    memory = ClientMemory.empty(tmp_path, 2 * ONE).updated({0: entry(0), 1: entry(1)}, 0)
    memory = memory.updated({0: entry(2)}, 1).updated({2: entry(3)}, 2)
    assert [name[:3] for name in written] == ["1-0"]


# --- folders --------------------------------------------------------------------------------------


def test_a_temporary_folder_is_made_when_needed_and_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    memory = ClientMemory.empty(limit=2 * ONE).updated({0: entry(0), 1: entry(1)}, 0)
    memory.forget_older()
    assert names(tmp_path) == set()
    later = memory.updated({2: entry(2)}, 1)
    assert len(names(tmp_path)) == 1
    del memory
    assert_holds(later, {client: entry(client) for client in range(3)})
    del later
    assert names(tmp_path) == set()


def test_a_temporary_folder_goes_with_the_process(tmp_path: Path) -> None:
    """So do spilled files that no checkpoint refers to."""
    program = (
        "import sys, torch\nfrom pathlib import Path\n"
        "from fl_core.federated.memory import ClientMemory\n"
        "kept = {0: {'w': torch.zeros(3)}}\n"
        "own = ClientMemory.empty(Path(sys.argv[1]), 0).updated(kept, 0)\n"
        "own.save()\nown = own.updated({0: {'w': torch.ones(3)}}, 1)\n"
        "temporary = ClientMemory.empty(limit=0).updated(kept, 0)\n"
        "print(len(list(Path(sys.argv[1]).iterdir())), temporary._folder.path)"
    )
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "own")], env=env,
                          capture_output=True, text=True, check=True)  # fmt: skip
    count, folder = done.stdout.split()
    assert done.stderr == ""
    assert count == "2"
    assert Path(folder).parent == tmp_path
    assert names(tmp_path) == {"own"}
    assert len(names(tmp_path / "own")) == 1


def test_a_remote_folder_keeps_the_same_promises() -> None:
    folder = location("memory://clients-of-a-trial/clients")
    memory = ClientMemory.empty(folder, ONE).updated({0: entry(0), 1: entry(1)}, 0)
    first = through_json(memory.save())
    memory = memory.updated({1: entry(10)}, 1).updated({2: entry(2)}, 2)
    wanted = {0: entry(0), 1: entry(10), 2: entry(2)}
    assert_holds(memory, wanted)
    del memory  # killed before its checkpoint
    assert names(folder) == {name for _, name, _ in first}
    memory = ClientMemory.load(first, folder, CPU, ONE)
    memory = memory.updated({1: entry(10)}, 1).updated({2: entry(2)}, 2)
    second = through_json(memory.save())
    memory.forget_older()
    assert names(folder) == {name for _, name, _ in second}
    assert_holds(ClientMemory.load(second, folder, CPU, ONE), wanted)
    path = folder / second[2][1]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedArtefact, match=path.name):
        ClientMemory.load(second, folder, CPU, ONE)
    ClientMemory.remove(folder)
    assert not folder.exists()
    ClientMemory.remove(folder)


@pytest.mark.parametrize("method", ["write_bytes", "iterdir", "rmdir"])
def test_a_storage_that_does_not_answer_is_one_line(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = location(f"memory://silent/{method}")
    memory = ClientMemory.empty(folder).updated({0: entry(0)}, 0)
    memory.save()

    def gone(*_: Any, **__: Any) -> Any:
        raise TypeError("of botocore\nodd")

    monkeypatch.setattr(type(folder), method, gone)
    act = {
        "write_bytes": memory.updated({0: entry(1)}, 1).save,
        "iterdir": memory.forget_older,
        "rmdir": lambda: ClientMemory.remove(folder),
    }[method]
    with pytest.raises(UserError, match=r"^memory://silent.*\(of botocore\)$"):
        act()
