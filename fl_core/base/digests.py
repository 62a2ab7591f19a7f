"""Names by content."""

from __future__ import annotations

import hashlib
import json


def digest_of(value: object) -> str:
    """16 hex digits of the canonical JSON of `value`."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
