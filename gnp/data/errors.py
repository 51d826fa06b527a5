"""The error of every data source."""


class DataError(ValueError):
    """Data are missing, damaged or not what the config says; the message says what to do."""
