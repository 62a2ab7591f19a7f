"""As the command of a study does, before Ray is imported: with a token, which clusters that the
tests start share.
"""

from __future__ import annotations

from fl_core.study import environment

environment.before_ray()
