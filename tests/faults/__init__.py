"""What the tests of faults share: studies as processes, a log of them, ways to break them."""

import pytest

# so that a failing assertion in these modules shows its values, as in a test
for _name in ("expect", "place", "running", "strikes"):
    pytest.register_assert_rewrite(f"{__name__}.{_name}")
