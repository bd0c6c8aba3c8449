"""What files, their copies and their histories can be searched by. Shared by machine API and portal."""

from collections.abc import Callable
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet

from files.copies import CONDITIONS, CopyState
from files.lookups import MAX_PATTERN_CHARACTERS, check_like, escape_like, shell_to_like
from files.models import Condition, File, FileEvent, Instance, Presence, Upload, UploadContent, UploadState
from files.models.file import FileKind
from files.names import MAX_NAME_CHARACTERS, normalise_name
from librarian.common.errors import InvalidName
from librarian.common.filters import (
    ArchiveFilterSet,
    IntegerFilter,
    OneOfFilter,
    PlainText,
    TextFilter,
    TimeFilter,
    YesNoFilter,
    refusal,
)
from stores.filters import StoreFilter
from stores.models import Store

# --- Fields and filters of names --------------------------------------------------------------------------------------


class FiledNameField(PlainText):
    """A name as a caller writes it, cleaned to the name as filed here."""

    def clean(self, value: Any) -> str:
        text = super().clean(value)
        try:
            return normalise_name(text).name if text else ""
        except InvalidName as problem:
            raise refusal(problem.reason) from problem


class LikeField(PlainText):
    """A pattern of some dialect, cleaned to a like pattern (files/lookups.py)."""

    def __init__(self, *, dialect: Callable[[str], str], **options: Any) -> None:
        super().__init__(**{"max_length": MAX_PATTERN_CHARACTERS, **options})
        self.dialect = dialect

    def clean(self, value: Any) -> str:
        text = super().clean(value)
        try:
            return check_like(self.dialect(text)) if text else ""
        except ValueError as problem:
            raise refusal(str(problem)) from problem


class FiledNameFilter(TextFilter):
    """Equality with a name, normalised as every surface does it."""

    field_class = FiledNameField

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, expects="a legal name of a file", **options)


class LikeFilter(TextFilter):
    """Match with a pattern."""

    field_class = LikeField

    def __init__(self, *args: Any, dialect: Callable[[str], str], **options: Any) -> None:
        super().__init__(*args, lookup_expr="like", dialect=dialect, **options)


def _containing(text: str) -> str:
    return f"%{escape_like(text)}%"


# --- Filter sets ------------------------------------------------------------------------------------------------------


class FileFilterSet(ArchiveFilterSet):
    """Files by name, time, size, origin and copies."""

    name = FiledNameFilter(
        "name", help_text=f"The file of this name (at most {MAX_NAME_CHARACTERS} characters), normalised as on filing."
    )
    name_contains = LikeFilter(
        "name", dialect=_containing, expects="text", help_text="Names with this text in them; case counts."
    )
    name_matches = LikeFilter(
        "name",
        dialect=check_like,
        expects="a LIKE pattern",
        help_text="Names that match this LIKE pattern in whole: % any characters, _ one, \\ takes the next as it is; "
        "case counts.",
    )
    name_glob = LikeFilter(
        "name",
        dialect=shell_to_like,
        expects="a shell pattern with * and ?",
        help_text="Names that match this shell pattern in whole: * any characters, ? one, \\ takes the next as it is; "
        "case counts.",
    )
    registered_after = TimeFilter(
        "registered_at",
        "gte",
        help_text="Registered at this site at or after this time (ISO 8601 or Julian Date, UTC).",
    )
    registered_before = TimeFilter(
        "registered_at", "lt", help_text="Registered at this site before this time (ISO 8601 or Julian Date, UTC)."
    )
    size_min = IntegerFilter("size_bytes", "gte", unit="bytes", help_text="Of at least this size, bytes.")
    size_max = IntegerFilter("size_bytes", "lte", unit="bytes", help_text="Of at most this size, bytes.")
    kind = OneOfFilter(field_name="kind", choices=FileKind.choices, help_text="Flat file or directory product.")
    uploader = TextFilter("uploader", help_text="Uploaded by this name, exactly.")
    source = TextFilter("source", help_text="Brought to this site by this person, program or site, exactly.")
    obsid = IntegerFilter("obsid", unit="GPS seconds", help_text="Of this observation: its start in whole GPS seconds.")
    has_obsid = YesNoFilter("obsid", "isnull", exclude=True, help_text="Whether the observation is known.")
    digest = TextFilter("digest", max_length=64, help_text="With this SHA-256 (or tree digest), lower-case hex.")
    store = StoreFilter(method="on_store", help_text="With a present copy on the store of this name.")
    presence = OneOfFilter(
        choices=Presence.choices, method="with_presence", help_text="With at least one copy here that stands so."
    )
    copies = OneOfFilter(
        choices=CopyState.choices, method="in_copy_state", help_text="By where copies are known to be."
    )

    class Meta:
        model = File
        fields: list[str] = []

    def on_store(self, queryset: QuerySet[File], name: str, value: Store) -> QuerySet[File]:
        return queryset.filter(Exists(Instance.objects.present().filter(file=OuterRef("pk"), store=value)))

    def with_presence(self, queryset: QuerySet[File], name: str, value: str) -> QuerySet[File]:
        return queryset.filter(Exists(Instance.objects.filter(file=OuterRef("pk"), presence=value)))

    def in_copy_state(self, queryset: QuerySet[File], name: str, value: str) -> QuerySet[File]:
        return queryset.filter(CONDITIONS[value])


class InstanceFilterSet(ArchiveFilterSet):
    """Copies by file, store, standing and condition."""

    file = FiledNameFilter("file__name", help_text="Copies of the file of this name, normalised as on filing.")
    store = StoreFilter(field_name="store", help_text="On the store of this name.")
    presence = OneOfFilter(field_name="presence", choices=Presence.choices, help_text="Where the copy stands.")
    condition = OneOfFilter(
        field_name="condition", choices=Condition.choices, help_text="What the latest look at the bytes found."
    )
    created_after = TimeFilter(
        "created_at", "gte", help_text="Made at or after this time (ISO 8601 or Julian Date, UTC)."
    )
    created_before = TimeFilter("created_at", "lt", help_text="Made before this time (ISO 8601 or Julian Date, UTC).")
    checked_after = TimeFilter(
        "condition_at", "gte", help_text="Last looked at at or after this time (ISO 8601 or Julian Date, UTC)."
    )
    checked_before = TimeFilter(
        "condition_at", "lt", help_text="Last looked at before this time (ISO 8601 or Julian Date, UTC)."
    )

    class Meta:
        model = Instance
        fields: list[str] = []


class EventFilterSet(ArchiveFilterSet):
    """Lines of histories by file, type, actor and time."""

    file = FiledNameFilter("file__name", help_text="Of the file of this name, normalised as on filing.")
    type = TextFilter("type", max_length=64, help_text="Of this type, such as file_registered.")
    actor = TextFilter("actor", help_text="Done by this person, program or site, exactly.")
    after = TimeFilter("at", "gte", help_text="At or after this time (ISO 8601 or Julian Date, UTC).")
    before = TimeFilter("at", "lt", help_text="Before this time (ISO 8601 or Julian Date, UTC).")

    class Meta:
        model = FileEvent
        fields: list[str] = []


class UploadFilterSet(ArchiveFilterSet):
    """Resumable uploads by state, content and what they were called."""

    state = OneOfFilter("state", choices=UploadState.choices, help_text="Where it stands.")
    content = OneOfFilter("content", choices=UploadContent.choices, help_text="What its bytes are.")
    destination = TextFilter("destination", max_length=4096, help_text="Called exactly this by its client.")

    class Meta:
        model = Upload
        fields: list[str] = []


class FileEventFilterSet(EventFilterSet):
    """Lines of one file's history."""

    file = None
