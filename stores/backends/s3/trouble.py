"""What an error of an S3 service means to people. Nothing that a service or the SDK wrote is repeated, but its code.

So no key, signature or token can get into a row, a page or a log by way of an error. A failed call never means that
bytes are missing or different.
"""

from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from librarian.common.errors import ArchiveError, StoreFull, StoreUnavailable
from stores.backends.s3.target import Target

FAILURES = (BotoCoreError, ClientError, HTTPError)  # the last where the SDK lets it through
NOT_THERE = ("404", "NoSuchKey", "NotFound")
OCCUPIED = ("412", "PreconditionFailed")
UPLOAD_GONE = ("NoSuchUpload",)
BEHIND_THE_END = ("416", "InvalidRange")
_FULL = ("QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientCapacity", "507")
REFUSED_CREDENTIALS = (
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
)
_RIGHTS = (
    "Allow s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload on its objects and s3:ListBucket, "
    "s3:ListBucketMultipartUploads on the bucket."
)
_ELSEWHERE = (
    "the bucket {bucket} lies in another region or at another address than {where}",
    "Correct 'region' or 'endpoint_url' of the store.",
)
_DENIED = ("the service denies it to the credentials of {credentials}", _RIGHTS)
_BUSY = ("the service at {where} is overloaded or failing", "Wait; look after the service if it lasts.")
_SKEWED = (
    "the clocks of this host and of the service differ too much",
    "Set the clock of this host (NTP); S3 refuses requests that are more than 15 minutes off.",
)
_SAYINGS = {
    "NoSuchBucket": (
        "there is no bucket {bucket} at {where}",
        "Make the bucket, or correct 'bucket' and 'endpoint_url' of the store.",
    ),
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "403": _DENIED,
    "InvalidAccessKeyId": (
        "the service does not know the access key of {credentials}",
        "Give the server's user a valid key there.",
    ),
    "SignatureDoesNotMatch": (
        "the secret key of {credentials} is wrong",
        "Correct it there, and look whether a proxy changes requests on their way.",
    ),
    "ExpiredToken": ("the session of {credentials} has expired", "Renew the credentials there."),
    "RequestTimeTooSkewed": _SKEWED,
    "RequestExpired": _SKEWED,
    "301": _ELSEWHERE,
    "307": _ELSEWHERE,
    "PermanentRedirect": _ELSEWHERE,
    "TemporaryRedirect": _ELSEWHERE,
    "AuthorizationHeaderMalformed": _ELSEWHERE,
    "IllegalLocationConstraintException": _ELSEWHERE,
    "SlowDown": _BUSY,
    "ServiceUnavailable": _BUSY,
    "InternalError": _BUSY,
    "500": _BUSY,
    "503": _BUSY,
    "ConditionalRequestConflict": (
        "another request for the same object was under way",
        "Nothing: it is tried again.",
    ),
    "NotImplemented": (
        "the service at {where} does not know a request that an archive needs",
        "Use a service with conditional writes (If-None-Match) and multipart uploads.",
    ),
}
_NO_CREDENTIALS = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.ProfileNotFound,
    exceptions.ConfigNotFound,
    exceptions.ConfigParseError,
    exceptions.TokenRetrievalError,
)


def code_of(error: Exception) -> str:
    """The service's own code of an error; empty when none came from it."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    return ""


def explain(error: Exception, *, doing: str, store_name: str, target: Target) -> ArchiveError:
    """What the caller is told about a failed call."""
    reason, remedy = _say(error, target)
    told = f"Store {store_name}: {doing} failed: {reason}."
    if code_of(error) in _FULL:
        return StoreFull(told, remedy="Raise the quota of the bucket, or free space there.")
    return StoreUnavailable(told, remedy=remedy or None)


def _say(error: Exception, target: Target) -> tuple[str, str]:
    if isinstance(error, ClientError):
        code = code_of(error)
        if code in _FULL:
            return f"the bucket {target.bucket} is full", ""
        known = _SAYINGS.get(code)
        if known is None:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
            known = (f"the service at {{where}} answered {_plain(code)} (HTTP {status})", "Look at the service's log.")
    elif isinstance(error, _NO_CREDENTIALS):
        known = (
            "there are no credentials in {credentials}",
            "Give the server's user a profile in ~/.aws/credentials, or name the right one as 'profile'.",
        )
    elif isinstance(error, exceptions.SSLError):
        known = ("the certificate of {where} is not trusted here", "Install the certificate of its issuer.")
    elif isinstance(error, (exceptions.HTTPClientError, exceptions.EndpointConnectionError, HTTPError)):
        known = (
            f"{{where}} is not reached ({type(error).__name__})",
            "Look after the service and the network; correct 'endpoint_url' if it is wrong.",
        )
    else:
        known = (f"the S3 library refused it ({type(error).__name__})", "Look at 'region' and the AWS configuration.")
    facts = {"bucket": target.bucket, "where": target.where, "credentials": target.credentials}
    return known[0].format_map(facts), known[1]


def _plain(code: str) -> str:
    return code if code.isalnum() and len(code) <= 60 else "an error"
