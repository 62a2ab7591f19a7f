"""The options of a study's command line, and what they say of configuration and search."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from fl_core.base.addresses import check_tracking_uri
from fl_core.base.errors import ConfigError
from fl_core.base.files import absolute
from fl_core.base.stores import check_sqlite
from fl_core.config.trial_config import Value
from fl_core.config.typed import typed
from fl_core.study import declared
from fl_core.study.arguments import (
    Parser,
    brief,
    device,
    fraction,
    natural,
    path,
    positive,
    seconds,
    started_as,
    words,
)
from fl_core.study.field_list import ShowFields
from fl_core.study.plan import PRUNERS, SEARCHERS, Plan
from fl_core.study.resolved import SEEDS, ResolvedStudy
from fl_core.study.study import Study


def parse(study: Study, argv: Sequence[str]) -> argparse.Namespace:
    """The options of a study, and as `words` what was typed; UserError for a mistake."""
    declared.check(study)
    args = build_parser(study).parse_args(argv)
    args.words = list(argv)
    return args


def build_parser(study: Study) -> Parser:
    """All options, for a study without a mistake."""
    presets = "\n".join(f"  {name:10}{preset.help}" for name, preset in study.presets.items())
    parser = Parser(
        prog=started_as(study.name),
        description=f"{study.question.strip()}\n\npresets:\n{presets}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _what_to_run(parser, study)
    _how_to_search(parser)
    _where_things_are(parser, study)
    _machine(parser)
    return parser


def _what_to_run(parser: argparse.ArgumentParser, study: Study) -> None:
    add = parser.add_argument_group("what to run").add_argument
    names = list(study.presets)
    add("--preset", choices=names, default=names[0], help=f"size of the study ({names[0]})")
    add("--trials", type=positive, metavar="N", help="search trials of each arm")
    add("--seeds", type=positive, metavar="N", help="confirmation seeds of each arm")
    add("--seed", type=natural, default=0, metavar="N", help="seed of the search (0)")
    add(
        "--finalists",
        type=positive,
        metavar="N",
        help="best trials of each arm that are confirmed with every seed",
    )
    add("--search-arms", action="store_true", help="one joint search that chooses the arm too")
    add(
        "--confirm-on",
        choices=("train", "train+val"),
        default="train",
        help="what the confirmation trains on (train); train+val stops where the search's best did",
    )
    add("--image-size", type=positive, metavar="PX", help="input resolution of the backbone")
    add(
        "--set",
        type=setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="values",
        help="fix any configuration field, e.g. --set federation.clients=1000",
    )
    add(
        "--fields",
        action=ShowFields,
        nargs="?",
        metavar="TEXT",
        help="show the fields that --set takes (those with TEXT in their name), and stop",
    )
    add(
        "--published",
        action="store_true",
        help="show published numbers for the same problems too, with their sources",
    )
    add(
        "--fresh",
        action="store_true",
        help="start over; what is there stays, in a folder of its own",
    )
    add(
        "--replay",
        type=words,
        metavar="RUN",
        help="run one recorded trial again (an MLflow run id or a digest) and compare",
    )


def _how_to_search(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("how to search").add_argument
    add("--searcher", choices=SEARCHERS, help="what is tried next (tpe, or the preset's)")
    add("--scheduler", choices=PRUNERS, help="what stops trials early (asha, or the preset's)")
    add(
        "--no-neighbours",
        action="store_true",
        help="arms don't try what the searches of their neighbours found",
    )
    add(
        "--time-budget",
        type=seconds,
        metavar="TIME",
        help="no search trial starts later (90s, 30m, 8h); confirmed all the same",
    )


def _where_things_are(parser: argparse.ArgumentParser, study: Study) -> None:
    add = parser.add_argument_group("where things are").add_argument
    add("--out", type=path, metavar="DIR", help=f"the study's folder (results/{study.name})")
    add(
        "--tracking-uri",
        type=words,
        metavar="URI",
        help="MLflow store (MLFLOW_TRACKING_URI, ./mlflow.db)",
    )
    add(
        "--also",
        type=words,
        action="append",
        default=[],
        metavar="LOG",
        help="log to tensorboard[:DIR] or wandb[:PROJECT] too",
    )
    add("--data-dir", type=path, metavar="DIR", help="folder of images (FL_DATA_DIR, ./data)")
    add(
        "--cache-dir",
        type=path,
        metavar="DIR",
        help="artefacts shared by studies (FL_CACHE_DIR, ./results/artefacts)",
    )
    add(
        "--storage",
        type=words,
        metavar="URL",
        help="artefacts and checkpoints on a path or fsspec URL that all nodes share",
    )
    add("--keep-checkpoints", action="store_true", help="keep the parameters of ended trials")
    add("--weights", type=path, metavar="FILE", help="local weights file of the backbone")


def _machine(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("machine").add_argument
    add("--device", type=device, default="auto", help="auto, cpu or cuda (auto)")
    add("--workers", type=positive, metavar="N", help="trials at a time (one a core)")
    add("--serial", action="store_true", help="one trial at a time in this process, without Ray")
    add(
        "--gpus-per-trial",
        type=fraction,
        default=1.0,
        metavar="F",
        help="1, or 1/n to share a GPU among n trials, or auto to measure n (1)",
    )
    add("--ray-address", type=words, metavar="ADDR", help="join a running Ray cluster")


def fixed_values(args: argparse.Namespace) -> dict[str, Value]:
    """Configuration fields fixed by --set, --image-size and --weights."""
    values: dict[str, Value] = {"seed": args.seed}
    if args.image_size is not None:
        values["backbone.image_size"] = args.image_size
    if args.weights is not None:
        from fl_core.models.features import known_weights

        values["backbone.weights"] = known_weights(absolute("--weights", args.weights))
    for name, text in args.values:
        if name == "seed":
            raise ConfigError(f"--set seed={brief(text)}: give --seed {brief(text)}; {SEEDS}")
        values[name] = typed(name, text)
    return values


def tracking_uri(args: argparse.Namespace) -> str:
    """The store to log into: the option, MLFLOW_TRACKING_URI, or what `mlflow ui` opens here."""
    named = args.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    uri = named or f"sqlite:///{Path.cwd() / 'mlflow.db'}"
    check_tracking_uri(uri)
    check_sqlite(uri)
    return uri


def plan_of(args: argparse.Namespace, study: ResolvedStudy) -> Plan:
    """How the search goes about it."""
    searcher = args.searcher or study.preset.searcher
    possible = study.preset.neighbours and not (
        args.search_arms or study.objectives or searcher == "grid"  # has tried all there is
    )
    pruner = study.pruner(args.scheduler)
    way = [
        searcher if searcher != study.preset.searcher else "",
        pruner if pruner != study.pruner(None) else "",
        "alone" if possible and args.no_neighbours else "",
    ]
    return Plan(
        trials=args.trials or study.preset.trials,
        seed=args.seed,
        searcher=searcher,
        pruner=pruner,
        grace_steps=study.preset.eval_steps,
        first=study.preset.first,
        seconds=args.time_budget,
        finalists=study.finalists(args.finalists),
        neighbours=possible and not args.no_neighbours,
        way="-".join(filter(None, way)),
    )


def setting(text: str) -> tuple[str, str]:
    """NAME=VALUE, apart."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{brief(text)}: give NAME=VALUE")
    return name.strip(), value.strip()
