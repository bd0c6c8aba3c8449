"""WSGI entry point: `gunicorn librarian.wsgi`. Refuses to serve a site whose settings are not safe to serve."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "librarian.settings")

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

from librarian.checks import refuse_bad_settings  # noqa: E402  needs the apps that the line above loads

refuse_bad_settings()
