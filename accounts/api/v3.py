"""`/api/v3/users/` and `/api/v3/tokens/`."""

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from accounts import services
from accounts.addresses import client_address
from accounts.api.serializers import (
    IssuedTokenSerializer,
    NewToken,
    NewUser,
    OwnAccountSerializer,
    TokenSerializer,
    UserChanges,
    UserSerializer,
)
from accounts.filters import TokenFilterSet, UserFilterSet
from accounts.levels import Level
from accounts.models import ApiToken, User
from accounts.permissions import level_of, level_required
from librarian.common.api import StableOrdering
from librarian.common.errors import LevelTooLow, NotFound
from librarian.common.filters import StrictFilters


class UserViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Accounts. Administrators see and change all of them; `me` is everybody's own."""

    queryset = User.objects.all()
    serializer_class = UserSerializer
    permission_classes = [level_required(Level.ADMIN)]
    filter_backends = [StrictFilters, StableOrdering]
    filterset_class = UserFilterSet
    ordering_fields = ["username", "level", "created_at", "last_used_at"]
    ordering = ["username"]
    lookup_value_regex = "[0-9]{1,18}"

    @extend_schema(request=NewUser, responses={201: UserSerializer})
    def create(self, request: Request) -> Response:
        """Make an account. Without a password only tokens open it."""
        fields = _read(NewUser(data=request.data))
        user = services.create_user(
            actor=request.user, password=fields.pop("password", None), address=client_address(request) or "", **fields
        )
        return Response(UserSerializer(user).data, status=201)

    @extend_schema(request=UserChanges, responses=UserSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change level, password, profile, or whether the account works at all."""
        changes = _read(UserChanges(data=request.data, partial=True))
        user = services.update_user(
            actor=request.user, user=self.get_object(), address=client_address(request) or "", **changes
        )
        return Response(UserSerializer(user).data)

    @extend_schema(responses=OwnAccountSerializer, filters=False)
    @action(detail=False, permission_classes=[level_required(Level.READONLY)], filter_backends=[StrictFilters])
    def me(self, request: Request) -> Response:
        """The account that this request comes from, and the level at which it acts."""
        return Response(OwnAccountSerializer(request.user, context={"acting_level": level_of(request)}).data)


class TokenViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Tokens: your own, or everybody's for administrators."""

    queryset = ApiToken.objects.select_related("user")
    serializer_class = TokenSerializer
    permission_classes = [level_required(Level.READONLY)]
    filter_backends = [StrictFilters, StableOrdering]
    filterset_class = TokenFilterSet
    ordering_fields = ["name", "level", "created_at", "expires_at", "last_used_at"]
    ordering = ["-id"]
    lookup_value_regex = "[0-9]{1,18}"

    def get_queryset(self) -> QuerySet[ApiToken]:
        if level_of(self.request) >= Level.ADMIN:
            return super().get_queryset()
        return super().get_queryset().filter(user=self.request.user)

    @extend_schema(request=NewToken, responses={201: IssuedTokenSerializer})
    def create(self, request: Request) -> Response:
        """Issue a token. The answer is the only place where its text ever appears."""
        fields = _read(NewToken(data=request.data))
        token, clear_text = services.issue_token(
            actor=request.user,
            user=self._owner(fields.pop("user", request.user.username)),
            ceiling=level_of(request),
            address=client_address(request) or "",
            **fields,
        )
        body = IssuedTokenSerializer(token, context={"clear_text": clear_text}).data
        return Response(body, status=201, headers={"Cache-Control": "no-store"})

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Revoke a token, at once and for ever. It stays in the list, with the time."""
        token = self.get_object()
        if services.effective_level(token) > level_of(request):
            raise LevelTooLow("A request cannot revoke a token that carries more than the request itself.")
        services.revoke_token(actor=request.user, token=token, address=client_address(request) or "")
        return Response(status=204)

    def _owner(self, username: str) -> User:
        if username == self.request.user.username:
            return self.request.user
        if level_of(self.request) < Level.ADMIN:
            raise LevelTooLow("Only administrators issue tokens for others.")
        owner = User.objects.filter(username=username).first()
        if owner is None:
            raise NotFound(f"There is no account {username}.")
        return owner


def _read(serializer: BaseSerializer) -> dict[str, object]:
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)
