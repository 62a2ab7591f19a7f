"""What is known of a study from its start, in the store: all of it in a file, what fits as tags.

MLflow ends a tag after 8,000 characters without a word, which is 110 arms as JSON: what is longer
stands in the file alone, and its tag names the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fl_core.config.record import FACTS

LONGEST_TAG = 7900  # characters
_FILE_ALONE = ("base",)  # the configuration that all arms start from: the runs have it


def tags_of(facts: Mapping[str, Any]) -> dict[str, str]:
    """The facts as tags; a text that is too long is cut, a list or a table is in the file.

    >>> tags_of({"study": "s", "trials": 3, "seeds": [1, 2], "base": {}})
    {'study': 's', 'trials': '3', 'seeds': '[1, 2]'}
    """
    tags = {}
    for name, fact in facts.items():
        if name in _FILE_ALONE:
            continue
        plain = not isinstance(fact, (dict, list))
        text = str(fact) if plain else json.dumps(fact)
        short = bounded(text) if plain else FACTS
        tags[name] = text if len(text) <= LONGEST_TAG else short
    return tags


def text_of(facts: Mapping[str, Any]) -> str:
    """The file FACTS."""
    return json.dumps(facts, indent=1) + "\n"


def bounded(text: str, most: int = LONGEST_TAG) -> str:
    """A text for people, cut where a tag would be."""
    return text if len(text) <= most else f"{text[:most]}\n…"
