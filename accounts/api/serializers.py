"""Shapes of accounts and tokens in version 3. A level is its number; `level_name` says it in a word."""

from typing import Any

from rest_framework import serializers

from accounts.levels import Level
from accounts.models import ApiToken, User
from accounts.services import effective_level

LEVELS = ", ".join(f"{level.value} = {level.name}" for level in Level)


class LevelName(serializers.CharField):
    """Name of the level in the field that `source` names."""

    def to_representation(self, value: int) -> str:
        return Level(value).name


class UserSerializer(serializers.ModelSerializer):
    """An account as others see it."""

    level_name = LevelName(source="level", read_only=True, help_text="Auth level by name.")
    has_password = serializers.BooleanField(
        source="has_usable_password", read_only=True, help_text="False: only tokens open the account."
    )

    class Meta:
        model = User
        fields = (
            "id",
            "username",
            "kind",
            "full_name",
            "email",
            "level",
            "level_name",
            "is_active",
            "has_password",
            "created_at",
            "last_used_at",
        )
        read_only_fields = fields
        extra_kwargs = {
            "id": {"help_text": "Number of the account."},
            "username": {"help_text": "Name to log in with; at most 64 of letters, digits and _ . @ + -"},
            "kind": {"help_text": "person, instrument or librarian (another site)."},
            "full_name": {"help_text": "Name for people; may be empty."},
            "email": {"help_text": "Where to reach whoever is responsible; may be empty."},
            "level": {"help_text": f"Auth level: {LEVELS}."},
            "is_active": {"help_text": "False: neither password nor tokens work."},
            "created_at": {"help_text": "When the account was made (UTC)."},
            "last_used_at": {"help_text": "Last use (UTC), to the minute; null if never used."},
        }


class OwnAccountSerializer(UserSerializer):
    """The caller's own account, and at which level this very request acts."""

    acting_level = serializers.SerializerMethodField(
        help_text=f"Level of this request, which a token may cap: {LEVELS}."
    )

    class Meta(UserSerializer.Meta):
        fields = (*UserSerializer.Meta.fields, "acting_level")
        read_only_fields = fields

    def get_acting_level(self, user: User) -> int:
        return int(self.context["acting_level"])


class UserChanges(serializers.Serializer):
    """What can be changed of an account."""

    kind = serializers.ChoiceField(User.Kind.choices, required=False, help_text="person, instrument or librarian.")
    full_name = serializers.CharField(max_length=128, allow_blank=True, required=False, help_text="Name for people.")
    email = serializers.EmailField(allow_blank=True, required=False, help_text="Address for people.")
    level = serializers.ChoiceField(
        Level.choices, required=False, help_text=f"Auth level, not above your own: {LEVELS}."
    )
    is_active = serializers.BooleanField(required=False, help_text="False stops password and tokens at once.")
    password = serializers.CharField(
        max_length=4096, trim_whitespace=False, write_only=True, required=False, help_text="New password."
    )

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        values = super().to_internal_value(data)
        if unknown := sorted(set(data) - set(self.fields)):
            raise serializers.ValidationError({unknown[0]: "There is no such field to set."})
        return values


class NewUser(UserChanges):
    """A new account."""

    username = serializers.CharField(max_length=64, help_text="Name to log in with, for ever.")
    level = serializers.ChoiceField(Level.choices, help_text=f"Auth level, not above your own: {LEVELS}.")
    is_active = None  # a new account is


class TokenSerializer(serializers.ModelSerializer):
    """A token, without its text, which nobody has but its owner."""

    user = serializers.CharField(source="user.username", read_only=True, help_text="Name of the owner.")
    level_name = LevelName(source="level", read_only=True, help_text="Auth level by name.")
    effective_level = serializers.SerializerMethodField(
        help_text="What it is worth now: at most its owner's level, 0 once it is revoked, expired or its owner closed."
    )
    is_usable = serializers.BooleanField(read_only=True, help_text="Neither revoked nor expired.")

    class Meta:
        model = ApiToken
        fields = (
            "id",
            "user",
            "name",
            "hint",
            "level",
            "level_name",
            "effective_level",
            "is_usable",
            "created_at",
            "expires_at",
            "revoked_at",
            "last_used_at",
        )
        read_only_fields = fields
        extra_kwargs = {
            "id": {"help_text": "Number of the token."},
            "name": {"help_text": "What its owner calls it."},
            "hint": {"help_text": "First characters, to recognise it by."},
            "level": {"help_text": f"Auth level it was issued with: {LEVELS}."},
            "created_at": {"help_text": "When it was issued (UTC)."},
            "expires_at": {"help_text": "When it ends (UTC); null for never."},
            "revoked_at": {"help_text": "When it was revoked (UTC); null if it was not."},
            "last_used_at": {"help_text": "Last use (UTC), to the minute; null if never used."},
        }

    def get_effective_level(self, token: ApiToken) -> int:
        return int(effective_level(token))


class IssuedTokenSerializer(TokenSerializer):
    """A token just issued."""

    token = serializers.SerializerMethodField(help_text="The token itself. Shown this once and kept nowhere.")

    class Meta(TokenSerializer.Meta):
        fields = (*TokenSerializer.Meta.fields, "token")
        read_only_fields = fields

    def get_token(self, token: ApiToken) -> str:
        return self.context["clear_text"]


class NewToken(serializers.Serializer):
    """A token to issue."""

    name = serializers.CharField(max_length=64, help_text="What you call it; unique among your live tokens.")
    level = serializers.ChoiceField(
        Level.choices, help_text=f"Auth level, not above the owner's nor that of this request: {LEVELS}."
    )
    expires_at = serializers.DateTimeField(
        required=False, allow_null=True, default=None, help_text="When it ends (ISO 8601); null for never."
    )
    user = serializers.CharField(
        max_length=64, required=False, help_text="Owner by name; only administrators may name another than themselves."
    )
