"""A clock that is wrong: Python imports this at its start when this directory is on PYTHONPATH.

`OTHER_CLOCK_SECONDS` is how far the site's clock is ahead of the truth (negative: behind). It moves what the Librarian
asks, `django.utils.timezone.now` and `time.time`; files keep the times that the real clock gives them.
"""

import os
import time
from datetime import timedelta

from django.utils import timezone

_AHEAD = float(os.environ.get("OTHER_CLOCK_SECONDS", "0"))
_now, _time = timezone.now, time.time
timezone.now = lambda: _now() + timedelta(seconds=_AHEAD)
time.time = lambda: _time() + _AHEAD
