"""The one text by which a program signs in: `user:password`, or a token (which has no colon)."""

import base64


def authorization_header(authenticator: str) -> str:
    """Value of the `Authorization` header for an authenticator. A password may itself contain colons.

    Raises ValueError when the text is empty or could not travel in a header.
    """
    if not authenticator:
        raise ValueError("the authenticator is empty; give 'user:password' or a token")
    if ":" in authenticator:
        return "Basic " + base64.b64encode(authenticator.encode()).decode()
    if not authenticator.isascii() or not authenticator.isprintable() or " " in authenticator:
        raise ValueError("the authenticator is neither 'user:password' nor a token of visible ASCII characters")
    return "Bearer " + authenticator
