"""Settings of a site, every value from the environment or `.env`. `deploy/env.example` lists and explains them."""

import os
import socket
from datetime import timedelta
from pathlib import Path

import environ

from librarian.common.keys import new_fernet_key, new_secret, read_or_create

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
if os.environ.get("LIBRARIAN_ENV_FILE", "") != "none":
    env.read_env(os.environ.get("LIBRARIAN_ENV_FILE") or BASE_DIR / ".env")

# --- The site ---------------------------------------------------------------------------------------------------------

LIBRARIAN_HOME = Path(env.str("LIBRARIAN_HOME", str(BASE_DIR / "var"))).absolute()
LIBRARIAN_NAME = env.str("LIBRARIAN_NAME", "")  # empty is refused by librarian.checks
LIBRARIAN_DISPLAYED_NAME = env.str("LIBRARIAN_DISPLAYED_NAME", "") or LIBRARIAN_NAME
LIBRARIAN_DESCRIPTION = env.str("LIBRARIAN_DESCRIPTION", "")
LIBRARIAN_SITE_LONGITUDE_DEG = env.float("LIBRARIAN_SITE_LONGITUDE_DEG", 21.428303826863015)  # HERA, east positive
LIBRARIAN_SITE_TIME_ZONE = env.str("LIBRARIAN_SITE_TIME_ZONE", "Africa/Johannesburg")
LIBRARIAN_HOST_NAME = env.str("LIBRARIAN_HOST_NAME", socket.gethostname())

# --- Files ------------------------------------------------------------------------------------------------------------

LIBRARIAN_FILE_NAMES = env.str("LIBRARIAN_FILE_NAMES", "flat")
LIBRARIAN_DIRECTORY_PRODUCTS = env.list("LIBRARIAN_DIRECTORY_PRODUCTS", default=["*.uv", "*.uvA", "*.uvh"])
LIBRARIAN_REQUIRE_OBSID = env.bool("LIBRARIAN_REQUIRE_OBSID", False)
LIBRARIAN_MAX_UPLOAD_SIZE_BYTES = env.int("LIBRARIAN_MAX_UPLOAD_SIZE_BYTES", 50_000_000_000)
LIBRARIAN_MAX_SEARCH_RESULTS = env.int("LIBRARIAN_MAX_SEARCH_RESULTS", 64)
LIBRARIAN_MAX_ARCHIVE_FILES = env.int("LIBRARIAN_MAX_ARCHIVE_FILES", 100_000)
LIBRARIAN_UPLOAD_EXPIRES_DAYS = env.float("LIBRARIAN_UPLOAD_EXPIRES_DAYS", 7.0)
LIBRARIAN_COMMIT_WAIT_SECONDS = env.float("LIBRARIAN_COMMIT_WAIT_SECONDS", 3600.0)

# --- Network ----------------------------------------------------------------------------------------------------------

LIBRARIAN_PUBLIC_URL = env.str("LIBRARIAN_PUBLIC_URL", "")  # where other sites reach this one; empty: as it was asked
LIBRARIAN_SSH_CONFIG = env.str("LIBRARIAN_SSH_CONFIG", "")  # another than the system's and the user's own
LIBRARIAN_GLOBUS_CLIENT_ID = env.str("LIBRARIAN_GLOBUS_CLIENT_ID", "")  # empty: Globus is not used
LIBRARIAN_GLOBUS_NATIVE_APP = env.bool("LIBRARIAN_GLOBUS_NATIVE_APP", False)
LIBRARIAN_GLOBUS_SECRET_FILE = env.str("LIBRARIAN_GLOBUS_SECRET_FILE", "")
LIBRARIAN_GLOBUS_ENDPOINT = env.str("LIBRARIAN_GLOBUS_ENDPOINT", "").lower()  # of stores that name no collection
LIBRARIAN_GLOBUS_ROOT = env.str("LIBRARIAN_GLOBUS_ROOT", "")  # what the collection shows as /
LIBRARIAN_GLOBUS_ENCRYPT = env.bool("LIBRARIAN_GLOBUS_ENCRYPT", True)
LIBRARIAN_GLOBUS_TASKS = env.int("LIBRARIAN_GLOBUS_TASKS", 3)  # Globus works on 3 of a user at a time
LIBRARIAN_GLOBUS_ENVIRONMENT = env.str("LIBRARIAN_GLOBUS_ENVIRONMENT", "")  # another than production
LIBRARIAN_GLOBUS_AUTH_URL = env.str("LIBRARIAN_GLOBUS_AUTH_URL", "")  # another than that of the environment
LIBRARIAN_GLOBUS_TRANSFER_URL = env.str("LIBRARIAN_GLOBUS_TRANSFER_URL", "")
LIBRARIAN_TRANSFER_ATTEMPTS = env.int("LIBRARIAN_TRANSFER_ATTEMPTS", 5)
LIBRARIAN_RETRY_SECONDS = env.float("LIBRARIAN_RETRY_SECONDS", 30.0)  # after a first failure; doubled by each further
LIBRARIAN_HTTP_STREAMS = env.int("LIBRARIAN_HTTP_STREAMS", 4)
LIBRARIAN_STALE_TRANSFER_SECONDS = env.float("LIBRARIAN_STALE_TRANSFER_SECONDS", 900.0)
LIBRARIAN_DELETION_POLICY_OF_RECEIVED = env.str("LIBRARIAN_DELETION_POLICY_OF_RECEIVED", "disallowed")

# --- Web --------------------------------------------------------------------------------------------------------------

DEBUG = env.bool("LIBRARIAN_DEBUG", False)
SECRET_KEY = env.str("LIBRARIAN_SECRET_KEY", "") or read_or_create(LIBRARIAN_HOME / "keys" / "secret_key", new_secret)
LIBRARIAN_ENCRYPTION_KEYS = env.list("LIBRARIAN_ENCRYPTION_KEYS", default=[]) or [
    read_or_create(LIBRARIAN_HOME / "keys" / "fernet_keys", new_fernet_key)
]
ALLOWED_HOSTS = env.list("LIBRARIAN_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("LIBRARIAN_CSRF_TRUSTED_ORIGINS", default=[])
LIBRARIAN_TRUSTED_PROXIES = env.list("LIBRARIAN_TRUSTED_PROXIES", default=[])
LIBRARIAN_PUBLIC_PORTAL = env.bool("LIBRARIAN_PUBLIC_PORTAL", False)
LIBRARIAN_HTTPS = env.bool("LIBRARIAN_HTTPS", False)
# nginx location (internal) below which each store's root is aliased by its name; empty: this process sends the bytes.
LIBRARIAN_ACCEL_PREFIX = env.str("LIBRARIAN_ACCEL_PREFIX", "")
LIBRARIAN_WEB_PROCESSES = env.int("LIBRARIAN_WEB_PROCESSES", 2)
LIBRARIAN_WEB_THREADS = env.int("LIBRARIAN_WEB_THREADS", 8)
LIBRARIAN_MAX_JSON_BYTES = env.int("LIBRARIAN_MAX_JSON_BYTES", 16 * 2**20)

FORCE_SCRIPT_NAME = env.str("LIBRARIAN_PATH_PREFIX", "") or None
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LIBRARIAN_HTTPS
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = env.int("LIBRARIAN_SESSION_SECONDS", 14 * 24 * 3600)
SECURE_SSL_REDIRECT = False  # TLS ends at nginx, which redirects
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if LIBRARIAN_HTTPS else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if LIBRARIAN_TRUSTED_PROXIES and LIBRARIAN_HTTPS else None
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = LIBRARIAN_MAX_JSON_BYTES
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.TemporaryFileUploadHandler"]

INSTALLED_APPS = [
    "librarian.apps.LibrarianConfig",
    "librarian.common",
    "accounts",
    "stores",
    "files",
    "network",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_q",
    "axes",
    "csp",
    "django_htmx",
]

MIDDLEWARE = [
    "librarian.common.middleware.RequestId",
    "librarian.common.middleware.ChunkedJson",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.middleware.PortalLogin",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "librarian.urls"
WSGI_APPLICATION = "librarian.wsgi.application"
APPEND_SLASH = False  # the wire protocol has paths with and without a slash; the portal's routes say theirs

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "librarian.context.site",
            ],
            "builtins": ["librarian.common.templatetags.units"],
        },
    }
]

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}

STATIC_URL = "static/"
STATIC_ROOT = LIBRARIAN_HOME / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
WHITENOISE_KEEP_ONLY_HASHED_FILES = False

# --- Database ---------------------------------------------------------------------------------------------------------

DATABASES = {"default": env.db_url("DATABASE_URL", f"sqlite:///{LIBRARIAN_HOME / 'librarian.sqlite3'}")}
if "sqlite" in DATABASES["default"]["ENGINE"]:
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 30,
        "transaction_mode": "IMMEDIATE",  # a writer waits at BEGIN, where waiting is safe, not half-way
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-32000;",
    }
else:
    DATABASES["default"].setdefault("CONN_MAX_AGE", 60)
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DATABASES["default"]["ATOMIC_REQUESTS"] = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Who may do what --------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"
LIBRARIAN_CREDENTIAL_CACHE_SECONDS = env.int("LIBRARIAN_CREDENTIAL_CACHE_SECONDS", 300)

# Guessing locks a (name, address) pair, never a name or an address alone (design section 3).
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = env.int("LIBRARIAN_LOCKOUT_FAILURES", 10)
AXES_COOLOFF_TIME = timedelta(seconds=env.int("LIBRARIAN_LOCKOUT_SECONDS", 900))
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # else Retry-After would not be the truth
AXES_RESET_ON_SUCCESS = True
AXES_CLIENT_IP_CALLABLE = "accounts.addresses.client_address"
AXES_USERNAME_CALLABLE = "accounts.lockout.counted_name"
AXES_LOCKOUT_CALLABLE = "accounts.pages.answer_locked_out"
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "csrfmiddlewaretoken"]
AXES_DISABLE_ACCESS_LOG = True  # one row per login for ever; the account says when it was last used
AXES_ENABLE_ADMIN = False  # accounts.admin shows and clears locks
AXES_VERBOSE = False

# --- Machine API ------------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.BasicAuthentication",
        "accounts.authentication.BearerAuthentication",
        "accounts.authentication.PortalSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.permissions.ReadOnlyLevel"],
    "DEFAULT_PARSER_CLASSES": ["librarian.common.parsers.BoundedJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_FILTER_BACKENDS": [
        "librarian.common.filters.StrictFilters",
        "librarian.common.api.StableOrdering",
    ],
    "DEFAULT_PAGINATION_CLASS": "librarian.common.api.CursorPages",
    "PAGE_SIZE": 100,
    "EXCEPTION_HANDLER": "librarian.common.api.answer_error",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_VERSIONING_CLASS": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Librarian",
    "DESCRIPTION": "Version 3 of the machine API: what is archived, where it lies, and how the site is doing. Times "
    "are ISO 8601 in UTC, sizes in bytes. Every error is `{code, reason, suggested_remedy}`; docs/errors.md lists the "
    "codes.",
    "VERSION": "3",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": r"/api/v3",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["accounts.permissions.ReadOnlyLevel"],
    "PREPROCESSING_HOOKS": ["librarian.operations.openapi.keep_resources"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "librarian.operations.openapi.document_errors",
    ],
    "ENUM_NAME_OVERRIDES": {
        "FileKind": "files.models.file.FileKind",
        "MemberKind": "files.models.file.FileMember.Kind",
        "StoreKind": "stores.models.Store.Kind",
        "AccountKind": "accounts.models.User.Kind",
        "AuthLevel": "accounts.levels.Level",
        "UploadState": "files.models.upload.UploadState",
        "CopyState": "files.models.store_copy.CopyState",
        "OffloadState": "files.models.offload.OffloadState",
        "ShipmentState": "network.models.shipment.ShipmentState",
    },
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "displayOperationId": False, "tryItOutEnabled": True},
}

# --- Jobs (each value answers a known behaviour of django-q2) ---------------------------------------------------------

_WORKERS = env.int("LIBRARIAN_JOB_WORKERS", 2)
_BULK_WORKERS = env.int("LIBRARIAN_BULK_WORKERS", 3)  # one slow peer must not keep the others waiting


def _cluster(*, workers: int, timeout_seconds: int) -> dict[str, object]:
    return {
        "workers": workers,
        "queue_limit": workers,  # waiting tasks sit in memory, where a crash loses their turn
        "bulk": 1,
        "timeout": timeout_seconds,
        "retry": 3 * (timeout_seconds + 3) + 60,  # the retry clock starts when the pusher takes a task
        "max_attempts": 0,
        "ack_failures": True,  # rows carry retries, not the broker
        "catch_up": False,
        "save_limit": -1,
        "poll": 1,
        "recycle": 500,
    }


Q_CLUSTER = {
    "name": "default",
    "orm": "default",
    "label": "Jobs",
    **_cluster(workers=_WORKERS, timeout_seconds=900),
    "ALT_CLUSTERS": {"bulk": _cluster(workers=_BULK_WORKERS, timeout_seconds=6 * 3600)},
}

# --- Time, language, logs ---------------------------------------------------------------------------------------------

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-gb"
FORMAT_MODULE_PATH = ["librarian.common.formats"]
USE_I18N = False

LIBRARIAN_LOG_LEVEL = env.str("LIBRARIAN_LOG_LEVEL", "INFO")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"}},
    "filters": {"request_id": {"()": "librarian.common.middleware.RequestIdFilter"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["request_id"]}},
    "root": {"handlers": ["console"], "level": LIBRARIAN_LOG_LEVEL},
    "loggers": {"django-q": {"level": "WARNING"}, "axes": {"level": "WARNING"}, "botocore": {"level": "WARNING"}},
}
