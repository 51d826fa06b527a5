"""Numbers as they are printed."""

from gnp.statistics import Statistic

MISSING = "—"


def format_statistic(value: Statistic | None, seeds: int | None = None) -> str:
    """ "5.21 ± 0.08 (3)"; "(2 of 3)" where seeds are missing, "—" where all are."""
    if value is None:
        return MISSING
    count = str(value.n) if seeds in (None, value.n) else f"{value.n} of {seeds}"
    spread = "" if value.std is None else f" ± {value.std:.2f}"
    return f"{value.mean:.2f}{spread} ({count})"


def unrounded(value: float | None) -> str:
    """For other programs: six digits, or nothing."""
    return "" if value is None else f"{value:.6g}"


def unrounded_statistic(value: Statistic | None) -> list[str]:
    """Mean and standard deviation."""
    return ["", ""] if value is None else [unrounded(value.mean), unrounded(value.std)]
