"""The bibliography of the published numbers: who wrote what, which kind of document, and where;
the papers of the methods stand in `fl_core.config.papers`.

A link stands here only where the document or its authors' repository is known to be public there.
In the order in which they are shown: closest to the brief first, those that contradict themselves
last, each with its contradiction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fl_core.config.papers import PAPERS


@dataclass(frozen=True)
class Source:
    """One document. `short` is how tables name it; `caveat` what its own parts disagree about."""

    short: str
    year: int
    authors: str
    title: str
    kind: str
    link: str | None = None
    caveat: str = ""

    @property
    def name(self) -> str:
        """As in a table's cell.

        >>> SOURCES["pirilli2025"].name
        'Pirilli et al. 2025'
        """
        return f"{self.short} et al. {self.year}"


def source(key: str) -> Source:
    """A report, or the paper that a method is from."""
    if key in SOURCES:
        return SOURCES[key]
    paper = PAPERS[key]
    link = f"https://arxiv.org/abs/{paper.arxiv}" if paper.arxiv else None
    return Source(paper.short, paper.year, paper.authors, paper.title, paper.venue, link)


#: By the key of the CSV rows, which is also the key of \\cite.
SOURCES: Mapping[str, Source] = {
    "delvecchio2026": Source(
        "Del Vecchio",
        2026,
        "F. Del Vecchio, G. Di Palma, M. Donatucci, E. Romano",
        "Federated Learning Under the Lens of Task Arithmetic: Mitigating Interference via Sparse "
        "Fine-Tuning",
        "Course project report with its public repository",
        "https://github.com/emanueleR3/AML-Project-2",
    ),
    "pirilli2025": Source(
        "Pirilli",
        2025,
        "Pirilli, Vigna, Ferrero, Gallo",
        "Centralized and Federated Learning with Sparse Fine-Tuning & Communication and Client "
        "Drift Analysis",
        "Course project report",
    ),
    "dadone2025": Source(
        "Dadone",
        2025,
        "L. Dadone, S. Fumero, A. Mirenda",
        "Optimizing Client Selection in Federated Learning with Evolutionary Algorithms",
        "Public repository of a course project, cifar100/Report.md",
        "https://github.com/stefffffffffano/AML_FederatedLearning",
    ),
    "hatem2025": Source(
        "Kotb Hatem",
        2025,
        "Kotb Hatem, Oral, Petrone, Akkiprik",
        "MLDL project report - Federated Learning and Distributed Training",
        "Course project report with its public repository",
        "https://github.com/Mohamed-Hatem346906/FL-Project",
        "DINO is claimed, supervised ImageNet weights are loaded in their code; every class is "
        "divided by the number of clients there, so that most images belong to nobody",
    ),
    "alcani2025": Source(
        "Alcani",
        2025,
        "Alcani, De Gregorio, Lucia, Toma",
        "Federated Learning Project",
        "Course project report",
        caveat="federated sparse iid is 71.70 in the text and 70.66 in Table I, the number that "
        "stands there for the centralised sparse model too; dense N_c = 1 and N_c = 5 are 70.31 "
        "and 63.41 in Table I, the other way round in the authors' CSV",
    ),
}
