"""The walls of the house, read from the source: layers, import owners, contracts 1, 5 and 11."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: The rooms of fl_core; each may import those of its own floor and of the floors before it.
FLOORS = (
    ("base",),
    ("config",),
    ("data", "optim"),
    ("models", "masks", "federated"),
    ("inputs", "own_methods"),
    ("head_stage",),
    ("stages", "checkpoint"),
    ("trial",),
    ("study",),
    ("doctor",),
)
#: What is read as if it stood in `base`: it needs the standard library alone.
FACTS = ("data.catalogue", "data.facts")
#: The same within fl_core/study ("" is what lies in no room of it), but for the command, which
#: puts all of them together.
STUDY_FLOORS = (("",), ("tracking", "search"), ("workers",))
COMMAND = ("command", "request", "session", "description", "logbook", "replay", "ui")
#: The rooms of analysis; those of one floor know nothing of each other.
ANALYSIS_FLOORS = (("reading",), ("results",), ("tables", "plots"), ("page", "dataset"))
#: Packages that only these modules of fl_core may import.
OWNERS = {
    # resnet_gn: a module of it; features: its version, for the record
    "timm": {"models.timm_models", "models.nets.resnet_gn", "models.features"},
    "torchvision": {"data.sets.cifar", "models.features"},
    "PIL": {"data.decoding"},
    "safetensors": {"base.cache", "models.weights", "data.sets.features"},
    "huggingface_hub": {"models.timm_models"},
    "datasets": {"data.sets.hub"},
    "cryptography": {"federated.secure.agreement", "federated.secure.prg"},
    "mlflow": {
        *(f"study.tracking.{name}" for name in ("runs", "arm_runs", "client", "sqlite_store")),
        "study.replay",
    },
    "ray": {"study.workers.ray_tune", "study.workers.ray_instance", "study.workers.cluster"},
    # plan, spaces, session and settled: for a type
    "optuna": {
        *("study.search.journal", "study.search.samplers", "study.search.pruning"),
        *("study.search.search", "study.search.confirm", "study.search.space"),
        *("study.search.neighbours", "study.search.probing"),
        *("study.plan", "study.spaces", "study.session", "study.settled"),
    },
    "upath": {"base.locations"},
    "psutil": {"study.workers.ray_tune", "study.workers.ray_instance"},
    "rich": {"study.display", "study.screen", "study.ending"},
    "fl_analysis": {"study.session", "study.result", "study.logbook"},
}
#: What fl_core and the analysis both read: names, how a winner is chosen, errors, whole files, how
#: a command line is read, and what is printed.
SHARED = {
    *("base.addresses", "base.errors", "base.files", "base.stores", "base.streams"),
    *(
        "config.methods",
        "config.papers",
        "config.record",
        "config.titles",
        "config.vocabulary",
        "data.catalogue",
        "data.facts",
        "study.arguments",
        "study.selection",
    ),
}
#: It needs pandas for one kind of file, and that alone.
READS_TABLES = "data.sets.leaf"
# enough below the study; huggingface_hub comes with timm, which downloads through it, PIL with
# torchvision; upath is for folders elsewhere
SCIENCE = {
    *("numpy", "torch", "torchvision", "timm", "safetensors", "huggingface_hub", "upath", "PIL"),
    "cryptography",
}


@cache
def parsed(folder: str) -> dict[str, ast.Module]:
    """The modules of a folder by name."""
    files = sorted((ROOT / folder).rglob("*.py"))
    names = [".".join(file.relative_to(ROOT / folder).with_suffix("").parts) for file in files]
    return {
        name: ast.parse(file.read_text())
        for name, file in zip(names, files, strict=True)
        if not name.endswith("__init__")
    }


CORE = parsed("fl_core")
PRODUCT = {
    f"{folder}.{name}": tree
    for folder in ("fl_core", "analysis", "search_spaces", "studies")
    for name, tree in parsed(folder).items()
}


def imports(tree: ast.Module) -> set[str]:
    """Full names imported anywhere: at the top, in functions, under TYPE_CHECKING."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def packages(tree: ast.Module) -> set[str]:
    return {name.split(".")[0] for name in imports(tree)}


def dotted(node: ast.AST) -> str:
    """`a.b.c` for such an expression, else the part of it that is."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


Site = tuple[str, str, ast.Call, list[ast.AST]]  # module, function, call, what it lies in


def walk(node: ast.AST, above: list[ast.AST]) -> Iterator[tuple[ast.AST, list[ast.AST]]]:
    """Every node below, with the nodes above it."""
    for child in ast.iter_child_nodes(node):
        yield child, [*above, node]
        yield from walk(child, [*above, node])


def calls(name: str) -> list[Site]:
    """Every call of a function of this name (however it is reached) in the product."""
    return [
        (
            module,
            next((a.name for a in reversed(above) if isinstance(a, ast.FunctionDef)), ""),
            node,
            above,
        )
        for module, tree in PRODUCT.items()
        for node, above in walk(tree, [])
        if isinstance(node, ast.Call) and dotted(node.func).split(".")[-1] == name
    ]


def mentions(name: str) -> int:
    """How often the product names it in an expression: a call, or a function passed on."""
    return sum(
        (isinstance(node, ast.Name) and node.id == name)
        or (isinstance(node, ast.Attribute) and node.attr == name)
        or (isinstance(node, ast.Constant) and node.value == name)
        for tree in PRODUCT.values()
        for node in ast.walk(tree)
    )


# --- layers ---------------------------------------------------------------------------------------


def test_every_import_is_found() -> None:
    tree = ast.parse(
        "import a.b, c as d\nfrom e.f import g as h, i\n"
        "if TYPE_CHECKING:\n    import j\ndef k():\n    from fl_core import l"
    )
    assert imports(tree) == {"a.b", "c", "e.f.g", "e.f.i", "j", "fl_core.l"}
    assert packages(tree) == {"a", "c", "e", "j", "fl_core"}


def floor(floors: tuple[tuple[str, ...], ...], room: str) -> int:
    (found,) = [number for number, rooms in enumerate(floors) if room in rooms]
    return found


def room_of_study(parts: list[str]) -> str:
    """The room of a module of fl_core.study, by its path there."""
    return parts[0] if parts[0] in ("search", "workers", "tracking") else ""


def test_every_module_is_seen() -> None:
    on_disk = {p.stem for p in (ROOT / "fl_core").rglob("*.py")} - {"__init__"}
    assert {name.split(".")[-1] for name in CORE} == on_disk
    assert len(CORE) == 1 + len(list((ROOT / "fl_core").rglob("[!_]*.py")))  # with __main__
    assert {name.split(".")[0] for name in CORE} == {room for rooms in FLOORS for room in rooms}
    assert {name.split(".")[0] for name in parsed("analysis") if "." in name} == {
        room for rooms in ANALYSIS_FLOORS for room in rooms
    }


def ours(tree: ast.Module, package: str) -> list[list[str]]:
    """The modules of this package that a module imports, as paths within it."""
    names = [name.split(".") for name in imports(tree)]
    assert [package] not in names, "import the module, not the package"
    return [parts[1:] for parts in names if parts[0] == package]


@pytest.mark.parametrize("module", CORE)
def test_imports_go_down(module: str) -> None:
    here = -1 if module in FACTS else floor(FLOORS, module.split(".")[0])
    for parts in ours(CORE[module], "fl_core"):
        if ".".join(parts[:2]) not in FACTS:
            assert floor(FLOORS, parts[0]) <= here, parts


@pytest.mark.parametrize("module", [name for name in CORE if name.startswith("study.")])
def test_imports_go_down_within_the_study(module: str) -> None:
    own = module.split(".")[1:]
    if own[0] in COMMAND:
        return
    for parts in ours(CORE[module], "fl_core"):
        if parts[0] == "study":
            assert parts[1] not in COMMAND, parts
            there = floor(STUDY_FLOORS, room_of_study(parts[1:]))
            assert there <= floor(STUDY_FLOORS, room_of_study(own)), parts


@pytest.mark.parametrize("module", [name for name in parsed("analysis") if "." in name])
def test_imports_go_down_within_the_analysis(module: str) -> None:
    room = module.split(".")[0]
    for parts in ours(parsed("analysis")[module], "fl_analysis"):
        below = floor(ANALYSIS_FLOORS, parts[0]) < floor(ANALYSIS_FLOORS, room)
        assert below or parts[0] == room, parts


def test_the_commands_of_the_analysis_are_imported_by_nobody() -> None:
    modules = parsed("analysis")
    commands = {name for name in modules if "." not in name}
    for name, tree in modules.items():
        assert not {parts[0] for parts in ours(tree, "fl_analysis")} & commands, name


@pytest.mark.parametrize("package", OWNERS)
def test_packages_have_owners(package: str) -> None:
    users = {name for name, tree in CORE.items() if package in packages(tree)}
    assert users <= OWNERS[package]
    assert users, "nobody imports it any more: take it out of the list"


@pytest.mark.parametrize("module", [n for n in CORE if not n.startswith(("study.", "doctor."))])
def test_the_science_needs_no_scheduler(module: str) -> None:
    others = packages(CORE[module]) - sys.stdlib_module_names - {"fl_core"}
    extra = {READS_TABLES: {"pandas"}, "data.sets.hub": {"datasets"}}  # where it is asked for
    assert others - extra.get(module, set()) <= SCIENCE


def test_the_analysis_stands_alone() -> None:
    for name, tree in parsed("analysis").items():
        assert not packages(tree) & {"torch", "ray", "timm", "torchvision"}, name
        from_core = {".".join(parts[:2]) for parts in ours(tree, "fl_core")}
        assert from_core <= SHARED, name


def test_what_the_analysis_reads_of_the_core_needs_the_standard_library_alone() -> None:
    names = ", ".join(f"fl_core.{name}" for name in sorted(SHARED))
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {names}"
    done = subprocess.run(  # -S: no other package can be found
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# --- contract 5: the test set is read by the confirmation alone -----------------------------------


def is_confirmation(test: ast.AST) -> bool:
    """Is this `… .phase == "confirm"`?"""
    return (
        isinstance(test, ast.Compare)
        and dotted(test.left).endswith(".phase")
        and [type(op) for op in test.ops] == [ast.Eq]
        and [c.value for c in test.comparators if isinstance(c, ast.Constant)] == ["confirm"]
    )


def test_test_metrics_are_read_in_the_confirmation_alone() -> None:
    """`_report` reads them, and only a job of the confirmation reports."""
    ((module, function, _, _),) = calls("test_metrics")
    assert (module, function) == ("fl_core.study.workers.run_job", "_report")
    assert mentions("test_metrics") == 1
    ((module, function, call, above),) = calls("_report")
    assert (module, function) == ("fl_core.study.workers.run_job", "run_job")
    assert mentions("_report") == 1
    chain = [*above, call]
    guarded = [
        chain[place + 1] is node.body
        for place, node in enumerate(chain)
        if isinstance(node, ast.IfExp) and is_confirmation(node.test)
    ]
    assert guarded == [True]


def test_the_test_set_is_read_by_test_metrics_and_the_test_curve_alone() -> None:
    assert [site[:2] for site in calls("test_source")] == [("fl_core.trial", "_test_examples")]
    assert mentions("test_source") == 1
    sites = sorted({site[:2] for site in calls("_test_examples")})
    assert sites == [("fl_core.trial", "_on_test_set"), ("fl_core.trial", "test_metrics")]
    assert mentions("_test_examples") == 2
    sites = sorted({site[:2] for site in calls("_on_test_set")})
    assert sites == [("fl_core.trial", "_test_row"), ("fl_core.trial", "test_metrics")]
    assert mentions("_on_test_set") == 3  # of the end, of the start, on the way


def test_the_test_curve_is_read_in_the_confirmation_alone() -> None:
    """A trial reads it where it was made to, and only a job of the confirmation makes it."""
    ((module, function, _, above),) = calls("_test_row")
    assert (module, function) == ("fl_core.trial", "records")
    assert mentions("_test_row") == 1
    guards = [ast.unparse(node.test) for node in above if isinstance(node, ast.If)]
    assert guards == ["self._tested and (not result.diverged)"]
    sets = [
        ast.unparse(node)
        for tree in PRODUCT.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr == "_tested"
        and isinstance(node.ctx, ast.Store)
    ]
    assert sets == ["self._tested"]
    asked = [(s[:2], w.value) for s in calls("Trial") for w in s[2].keywords if w.arg == "tested"]
    ((site, value),) = asked
    assert site == ("fl_core.study.workers.run_job", "run_job")
    assert is_confirmation(value)


def test_the_test_features_are_read_by_test_source_alone() -> None:
    """Every other call takes the default, the training part."""
    sites = calls("extract_features")
    assert mentions("extract_features") == len(sites) >= 2
    other = [site[:2] for site in sites if len(site[2].args) > 2 or site[2].keywords]
    assert other == [("fl_core.inputs", "test_source")]
    (inner,) = calls("_features")
    assert inner[:2] == ("fl_core.models.features", "extract_features")


def test_the_test_images_are_read_by_test_source_alone() -> None:
    def train(call: ast.Call) -> str:
        return next(ast.unparse(word.value) for word in call.keywords if word.arg == "train")

    sites = {site[:2]: train(site[2]) for site in calls("load_examples") + calls("_loaded")}
    assert sites == {
        ("fl_core.inputs", "model_federation"): "True",
        ("fl_core.inputs", "test_source"): "False",
        ("fl_core.inputs", "_loaded"): "train",  # as its caller says: the two above
        ("fl_core.models.features", "compute_features"): "part == 'train'",  # both, stored apart
        ("fl_core.models.features", "_features"): "part == 'train'",  # a task's own features
    }
    doors = [site[:2] for site in calls("load") if dotted(site[2].func) == "task.load"]
    assert doors == [("fl_core.data.checks", "loaded")]
    sites = {site[:2]: train(site[2]) for site in calls("loaded") if site[0].endswith("tasks")}
    assert sites == {
        ("fl_core.data.tasks", "load_examples"): "train",
        ("fl_core.data.tasks", "_read_both"): "False",  # the second of its calls
    }
    # which are stored apart, or looked at whether they can be tested on: nothing is given back
    assert {site[1] for site in calls("_read_both")} == {"make", "check_parts"}
    (check,) = calls("check_parts")
    assert check[:2] == ("fl_core.study.command", "check_inputs")
    assert mentions("load_images") == 1  # in the table of tasks


# --- contract 1: no global random state, and every consumer has its own streams -------------------

RANDOM = ("torch.manual_seed", "torch.random.manual_seed", "torch.cuda.manual_seed",
          "torch.cuda.manual_seed_all", "torch.seed", "torch.rand", "torch.randn", "torch.randint",
          "torch.randperm", "torch.bernoulli", "torch.multinomial", "torch.normal")  # fmt: skip
GENERATORS = {"Generator", "Philox"}


@pytest.mark.parametrize("module", CORE)
def test_no_global_random_numbers(module: str) -> None:
    tree = CORE[module]
    used = {dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not used & set(RANDOM)
    from_numpy = {name.split(".")[2] for name in used if name.startswith("np.random.")}
    assert from_numpy <= GENERATORS
    assert module == "base.rng" or from_numpy <= {"Generator"}  # as a type
    sources = ("random", "numpy.random", "secrets")
    assert not any(name == s or name.startswith(f"{s}.") for name in imports(tree) for s in sources)


def test_every_purpose_has_one_consumer() -> None:
    """Two consumers with one stream would draw the same numbers. Selections are one: a run has one
    of them, and each draws the round's clients.
    """
    selections = "fl_core.federated.selections."
    places: list[tuple[str, str]] = []
    for module, _, call, _ in calls("stream"):
        purpose = call.args[1]
        assert isinstance(purpose, (ast.Constant, ast.JoinedStr)), module
        places.append((ast.unparse(purpose), module))
    assert len(set(places)) == len(places)
    rooms = {(name, selections if of.startswith(selections) else of) for name, of in places}
    purposes = [name for name, _ in rooms]
    assert len(set(purposes)) == len(purposes) >= 7
    assert not any("/" in purpose for purpose in purposes)  # it separates the parts of a name


# --- contract 11: nothing read can execute code ---------------------------------------------------

UNSAFE = {"torch.load", "eval", "exec", "yaml.load", "yaml.unsafe_load"}


@pytest.mark.parametrize("module", CORE)
def test_nothing_read_can_execute_code(module: str) -> None:
    tree = CORE[module]
    made = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not {dotted(node.func) for node in made} & UNSAFE
    for node in made:
        if dotted(node.func) == "np.load":
            assert "allow_pickle=False" in map(ast.unparse, node.keywords)
    assert not packages(tree) & {"pickle", "cloudpickle", "dill", "shelve", "marshal", "joblib"}


# --- documentation --------------------------------------------------------------------------------


@pytest.mark.parametrize("module", PRODUCT)
def test_docstrings(module: str) -> None:
    tree = PRODUCT[module]
    assert ast.get_docstring(tree), "the module"
    silent = [
        node.name
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert silent == []
