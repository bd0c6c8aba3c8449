"""Wire protocol: `users/...`."""

from rest_framework.request import Request

from accounts import services
from accounts.addresses import client_address
from accounts.authentication import check_password
from accounts.levels import Level
from accounts.models import User
from accounts.permissions import wire_level_required
from hera_librarian.authlevel import AuthLevel
from hera_librarian.models.users import (
    UserAdministrationChangeResponse,
    UserAdministrationCreationRequest,
    UserAdministrationDeleteRequest,
    UserAdministrationGetRequest,
    UserAdministrationGetResponse,
    UserAdministrationPasswordChange,
    UserAdministrationUpdateRequest,
)
from librarian.common.wire import WireFailure, WireView


class CreateUser(WireView):
    """`users/create`: a new account. Its password may be weak: scripts in the field set short ones."""

    request_model = UserAdministrationCreationRequest
    permission_classes = [wire_level_required(Level.ADMIN)]
    success_status = 201

    def answer(self, request: Request, message: UserAdministrationCreationRequest) -> UserAdministrationChangeResponse:
        try:
            services.create_user(
                actor=request.user,
                username=message.username,
                password=message.password,
                level=int(message.permission),
                weak_password_ok=True,
                address=client_address(request) or "",
            )
        except services.UserExists as problem:
            raise failure(
                problem.reason, problem.suggested_remedy, message.username, code=problem.code, success=False
            ) from None
        return done(message.username)


class UpdateUser(WireView):
    """`users/update`: another password, another level, or both."""

    request_model = UserAdministrationUpdateRequest
    permission_classes = [wire_level_required(Level.ADMIN)]

    def answer(self, request: Request, message: UserAdministrationUpdateRequest) -> UserAdministrationChangeResponse:
        services.update_user(
            actor=request.user,
            user=find_user(message.username, success=False),
            password=message.password,
            weak_password_ok=True,
            address=client_address(request) or "",
            **({} if message.permission is None else {"level": int(message.permission)}),
        )
        return done(message.username)


class DeleteUser(WireView):
    """`users/delete`: remove an account with its tokens; never the last administrator."""

    request_model = UserAdministrationDeleteRequest
    permission_classes = [wire_level_required(Level.ADMIN)]

    def answer(self, request: Request, message: UserAdministrationDeleteRequest) -> UserAdministrationChangeResponse:
        user = find_user(message.username, success=False)
        services.delete_user(actor=request.user, user=user, address=client_address(request) or "")
        return done(message.username)


class GetUser(WireView):
    """`users/get`: the level of an account."""

    request_model = UserAdministrationGetRequest
    permission_classes = [wire_level_required(Level.ADMIN)]

    def answer(self, request: Request, message: UserAdministrationGetRequest) -> UserAdministrationGetResponse:
        user = find_user(message.username, permission=0)
        return UserAdministrationGetResponse(username=user.username, permission=AuthLevel(user.level))


class UpdatePassword(WireView):
    """`users/password_update`: the caller's own password, against the old one."""

    request_model = UserAdministrationPasswordChange
    permission_classes = [wire_level_required(Level.READONLY)]

    def answer(self, request: Request, message: UserAdministrationPasswordChange) -> UserAdministrationChangeResponse:
        check_password(request, request.user.username, message.password)
        services.set_password(
            actor=request.user,
            user=request.user,
            password=message.new_password,
            weak_password_ok=True,
            address=client_address(request) or "",
        )
        return done(request.user.username)


def find_user(username: str, **fields: object) -> User:
    """The account of that name. Raises the wire's failure, with the `fields` of the answer that was expected."""
    user = User.objects.filter(username=username).first()
    if user is None:
        raise failure(
            f"User not found: {username}.", "Check the name and its case.", username, code="not_found", **fields
        )
    return user


def failure(reason: str, remedy: str, username: str, *, code: str, **fields: object) -> WireFailure:
    """400 with the words that clients match, and what the protocol's answer has besides them."""
    return WireFailure(400, reason, remedy, code=code, username=username, **fields)


def done(username: str) -> UserAdministrationChangeResponse:
    """The answer of a change that was made."""
    return UserAdministrationChangeResponse(success=True, username=username)
