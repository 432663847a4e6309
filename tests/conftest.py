"""Settings of the whole suite."""

import os

from hypothesis import settings

settings.register_profile("here", max_examples=60, deadline=None)
settings.register_profile("ci", max_examples=60, deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")
