"""The error of every data source."""

from gnp.errors import UserError


class DataError(UserError, ValueError):
    """Data are missing, damaged or not what the config says; the message says what to do."""
