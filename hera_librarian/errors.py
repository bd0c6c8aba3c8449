"""Kinds of trouble in the error inbox, as lower-case words of the wire."""

from enum import StrEnum


class ErrorSeverity(StrEnum):
    """How much it matters."""

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class ErrorCategory(StrEnum):
    """What kind of trouble it is."""

    DATA_INTEGRITY = "data_integrity"
    DATA_AVAILABILITY = "data_availability"
    CONFIGURATION = "configuration"
    STORE_FULL = "store_full"
    PROGRAMMING = "programming"
    LIBRARIAN_NETWORK_AVAILABILITY = "librarian_network_availability"
    TRANSFER = "transfer"
