"""What accounts and tokens can be searched by. Shared by machine API and portal."""

from django.db.models import QuerySet

from accounts.levels import Level
from accounts.models import ApiToken, User
from librarian.common.filters import ArchiveFilterSet, OneOfFilter, TextFilter, YesNoFilter


class UserFilterSet(ArchiveFilterSet):
    """Accounts by name and by what they may do."""

    username = TextFilter(help_text="The account of this name.", max_length=64)
    kind = OneOfFilter(choices=User.Kind.choices, help_text="A person, an instrument or another site's Librarian.")
    level = OneOfFilter(choices=Level.choices, help_text="Exactly this auth level.")
    is_active = YesNoFilter(help_text="May log in at all.")

    class Meta:
        model = User
        fields: list[str] = []


class TokenFilterSet(ArchiveFilterSet):
    """Tokens by owner, name and whether they still open anything."""

    user = TextFilter(field_name="user__username", help_text="Name of the owner.", max_length=64)
    name = TextFilter(help_text="The token of this name.", max_length=64)
    is_usable = YesNoFilter(method="by_usable", help_text="Neither revoked nor expired.")

    class Meta:
        model = ApiToken
        fields: list[str] = []

    def by_usable(self, tokens: QuerySet[ApiToken], name: str, value: bool) -> QuerySet[ApiToken]:
        return tokens.usable() if value else tokens.exclude(pk__in=tokens.usable().values("pk"))
