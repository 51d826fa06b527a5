"""The base of every error that is the user's to mend."""


class UserError(Exception):
    """Something outside the program is wrong; the message says what and what to do.

    The scripts print the message alone, without a traceback, and exit with ``exit_status``.
    """

    exit_status = 2
