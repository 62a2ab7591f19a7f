"""The walls of the house, read from the source: layers, import owners, contracts 1, 5 and 11."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = (
    {"fields", "sections", "config", "rng", "params", "locations", "addresses", "host"},
    {"data", "sharding", "levelling", "backbone", "meters"},
    {
        *(
            "scores",
            "masks",
            "overlap",
            "sgdm",
            "sparse_sgdm",
            "messages",
            "ledger",
            "ridge",
            "evaluate",
        ),
        *("client", "stacked", "server", "federation", "fedavg"),
    },
    {"cache", "features", "calibration", "stages", "trial"},
    {
        *("jobs", "memory", "samplers", "pruning", "search", "findings"),
        *("largest", "gpu", "runner", "conductor", "serial", "cluster", "tuning"),
        *("tracking", "run_store", "store_client", "store_writer", "machine_load", "run_notes"),
        *("record_metrics", "display"),
    },
    {
        *("arms", "study", "options", "resources", "folder", "session", "command", "replay", "ui"),
        *("checks", "check_places", "doctor"),
    },
)
LAYER = {module: number for number, modules in enumerate(LAYERS) for module in modules}
#: Packages that only these modules of fl_core may import.
OWNERS = {
    "timm": {"backbone", "features"},  # features: its version, for the record
    "torchvision": {"data", "features"},
    "safetensors": {"cache", "backbone"},
    "huggingface_hub": {"backbone"},
    "mlflow": {"run_store", "store_client", "replay"},
    "ray": {"tuning", "cluster"},
    # study and session: for a type
    "optuna": {
        *("memory", "samplers", "pruning", "search", "findings", "largest", "study", "session"),
    },
    "upath": {"locations"},
    "psutil": {"tuning"},
    "rich": {"display"},
    "analysis": {"session"},
}
# enough below layer 4; huggingface_hub comes with timm, which downloads through it; upath only for
# folders elsewhere
SCIENCE = {"numpy", "torch", "torchvision", "timm", "safetensors", "huggingface_hub", "upath"}


def parsed(folder: str) -> dict[str, ast.Module]:
    """The modules of a folder by name."""
    files = sorted((ROOT / folder).glob("*.py"))
    return {file.stem: ast.parse(file.read_text()) for file in files if file.stem != "__init__"}


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


def test_every_module_has_a_layer() -> None:
    assert set(LAYER) == set(CORE)
    assert sum(map(len, LAYERS)) == len(LAYER)


@pytest.mark.parametrize("module", CORE)
def test_imports_go_down(module: str) -> None:
    ours = [name.split(".") for name in imports(CORE[module]) if name.split(".")[0] == "fl_core"]
    assert all(len(parts) > 1 for parts in ours), "import the module, not the package"
    lower = {parts[1] for parts in ours}
    assert lower <= set(LAYER)
    assert {name for name in lower if LAYER[name] > LAYER[module]} == set()


@pytest.mark.parametrize("package", OWNERS)
def test_packages_have_owners(package: str) -> None:
    users = {name for name, tree in CORE.items() if package in packages(tree)}
    assert users <= OWNERS[package]
    assert users, "nobody imports it any more: take it out of the list"


@pytest.mark.parametrize("module", [name for name in CORE if LAYER.get(name, 0) < 4])
def test_the_science_needs_no_scheduler(module: str) -> None:
    others = packages(CORE[module]) - sys.stdlib_module_names - {"fl_core"}
    assert others <= SCIENCE


def test_the_analysis_stands_alone() -> None:
    for name, tree in parsed("analysis").items():
        assert not packages(tree) & {"torch", "ray", "fl_core", "timm", "torchvision"}, name


# --- contract 5: the test set is read by the confirmation alone -----------------------------------


def is_search(test: ast.AST) -> bool:
    """Is this `… .phase == "search"`?"""
    return (
        isinstance(test, ast.Compare)
        and dotted(test.left).endswith(".phase")
        and [type(op) for op in test.ops] == [ast.Eq]
        and [c.value for c in test.comparators if isinstance(c, ast.Constant)] == ["search"]
    )


def test_test_metrics_are_read_outside_the_search_alone() -> None:
    """`_report` reads them, and a job reports unless it is of the search."""
    ((module, function, _, _),) = calls("test_metrics")
    assert (module, function) == ("fl_core.study.workers.run_job", "_report")
    assert mentions("test_metrics") == 1
    ((module, function, call, above),) = calls("_report")
    assert (module, function) == ("fl_core.study.workers.run_job", "run_job")
    assert mentions("_report") == 1
    chain = [*above, call]
    guarded = [
        chain[place + 1] is node.orelse
        for place, node in enumerate(chain)
        if isinstance(node, ast.IfExp) and is_search(node.test)
    ]
    assert guarded == [True]


def test_the_test_model_is_built_by_test_metrics_alone() -> None:
    assert [site[:2] for site in calls("test_model")] == [("fl_core.trial", "test_metrics")]
    assert mentions("test_model") == 1


def test_the_test_features_are_read_by_the_test_model_alone() -> None:
    """Every other call takes the default, the training part."""
    sites = calls("extract_features")
    assert mentions("extract_features") == len(sites) >= 2
    other = [site[:2] for site in sites if len(site[2].args) > 2 or site[2].keywords]
    assert other == [("fl_core.stages", "test_model")]
    (inner,) = calls("_features")
    assert inner[:2] == ("fl_core.models.features", "extract_features")


def test_the_test_images_are_read_by_the_test_model_alone() -> None:
    def train(call: ast.Call) -> str:
        return next(ast.unparse(word.value) for word in call.keywords if word.arg == "train")

    sites = {site[:2]: train(site[2]) for site in calls("load_images") + calls("_images")}
    assert sites == {
        ("fl_core.stages", "_image_federation"): "True",
        ("fl_core.stages", "test_model"): "False",
        ("fl_core.stages", "_images"): "train",  # as its caller says: the two above
        ("fl_core.models.features", "compute_features"): "part == 'train'",  # both, stored apart
    }


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
    assert module == "rng" or from_numpy <= {"Generator"}  # as a type
    sources = ("random", "numpy.random", "secrets")
    assert not any(name == s or name.startswith(f"{s}.") for name in imports(tree) for s in sources)


def test_every_purpose_has_one_consumer() -> None:
    """Two consumers with one stream would draw the same numbers."""
    purposes = []
    for module, _, call, _ in calls("stream"):
        purpose = call.args[1]
        assert isinstance(purpose, (ast.Constant, ast.JoinedStr)), module
        purposes.append(ast.unparse(purpose))
    assert len(set(purposes)) == len(purposes) >= 7
    assert not any("/" in purpose for purpose in purposes)  # it separates the parts of a name


# --- contract 11: nothing read can execute code ---------------------------------------------------

UNSAFE = {"torch.load", "np.load", "eval", "exec", "yaml.load", "yaml.unsafe_load"}


@pytest.mark.parametrize("module", CORE)
def test_nothing_read_can_execute_code(module: str) -> None:
    tree = CORE[module]
    called = {dotted(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not called & UNSAFE
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
