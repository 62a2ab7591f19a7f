"""What every LaTeX table must be, without a TeX: balanced."""

from __future__ import annotations

import re


def assert_balanced(text: str) -> None:
    """Environments nest, braces open before they close."""
    stack: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert not stack
    depth = 0
    for mark in re.sub(r"\\[{}]|(?m:^%.*$)", "", text):
        depth += (mark == "{") - (mark == "}")
        assert depth >= 0
    assert depth == 0
