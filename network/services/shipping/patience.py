"""How long a disk may travel before somebody asks."""

from datetime import timedelta

ASK_AFTER = timedelta(days=2)  # the other site is asked what it holds, since not every one calls back
ASK_EVERY = timedelta(days=1)
LATE_AFTER = timedelta(days=30)  # people are told
CUT_AFTER = timedelta(minutes=15)  # a loss is gone on with by the job
UNFINISHED_AFTER = timedelta(hours=1)  # a manifest that nobody went on writing
