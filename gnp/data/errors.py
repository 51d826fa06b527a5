"""The error of every data source."""

from gnp.errors import UserError


class DataError(UserError, ValueError):
    """Data are missing, damaged or not what the config says; the message says what to do."""

    def __init__(self, message: str):
        super().__init__(printable(message))


def printable(text: object) -> str:
    r"""``text`` in one line that any file and terminal takes: a file's name may have characters
    that are no UTF-8 (``\udce9``), or a line break."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))
