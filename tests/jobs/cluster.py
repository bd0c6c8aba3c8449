"""A real job cluster that knows the jobs of these tests: `Q_CLUSTER_NAME=default python -m tests.jobs.cluster`."""

import django
from django.core.management import call_command

if __name__ == "__main__":
    django.setup()
    from tests.jobs import work

    work.register()
    call_command("qcluster")
