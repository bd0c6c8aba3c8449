"""`users/...`: accounts."""

from typing import Annotated

from pydantic import Field

from hera_librarian.authlevel import AuthLevel
from hera_librarian.models.types import WireModel, WireName

Password = Annotated[str, Field(max_length=1024)]


class UserAdministrationCreationRequest(WireModel):
    """A new account."""

    username: WireName
    password: Password = Field(repr=False)
    permission: AuthLevel


class UserAdministrationUpdateRequest(WireModel):
    """Changes of an account; null changes nothing."""

    username: WireName
    password: Password | None = Field(default=None, repr=False)
    permission: AuthLevel | None = None


class UserAdministrationDeleteRequest(WireModel):
    """An account to remove."""

    username: WireName


class UserAdministrationGetRequest(WireModel):
    """An account to look at."""

    username: WireName


class UserAdministrationPasswordChange(WireModel):
    """A new password for the caller."""

    password: Password = Field(repr=False)
    new_password: Password = Field(repr=False)


class UserAdministrationChangeResponse(WireModel):
    """Whether it was done."""

    success: bool
    username: str


class UserAdministrationGetResponse(WireModel):
    """What an account may do."""

    username: str
    permission: AuthLevel
