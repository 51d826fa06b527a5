"""What the messages of errors share."""


def describe(value: object) -> str:
    """What something is: "'str'", "SGD (a class)"."""
    return value.__name__ + " (a class)" if isinstance(value, type) else repr(type(value).__name__)
