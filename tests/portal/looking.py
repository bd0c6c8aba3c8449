"""Reading pages: what a reader sees of the HTML, and how many queries it cost."""

from html.parser import HTMLParser

from django.db import connection
from django.test.utils import CaptureQueriesContext


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.words, self.links, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "a":
            self.links.append(dict(attrs).get("href", ""))

    def handle_data(self, data):
        if data.strip():
            self.words.append(" ".join(data.split()))


def read(response):
    """The page taken apart."""
    reader = _Reader()
    reader.feed(response.content.decode())
    return reader


def words_of(response):
    """The words of a page, as one text."""
    return " ".join(read(response).words)


def links_of(response):
    """Addresses that a page links to."""
    return read(response).links


def queries_of(call):
    """What `call` answers and the queries it ran; session, user and the note of use (once a while) are left out."""
    with CaptureQueriesContext(connection) as captured:
        answer = call()
    beside = (
        "django_session",
        "SAVEPOINT",
        'FROM "accounts_user" WHERE "accounts_user"."id"',
        'UPDATE "accounts_user"',
    )
    return answer, [row["sql"] for row in captured if not any(part in row["sql"] for part in beside)]
