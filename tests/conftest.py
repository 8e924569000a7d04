"""What holds for all tests."""

import os

from hypothesis import settings

# A change is judged by its own faults: where CI is set the properties are asked the same questions each time.
settings.register_profile("ci", derandomize=True, database=None)
if os.environ.get("CI"):
    settings.load_profile("ci")
