"""Numbers as they are printed."""

from gnp.statistics import Statistic

MISSING = "—"


def format_statistic(value: Statistic | None, seeds: int | None = None, digits: int = 2) -> str:
    """ "5.21 ± 0.08 (3)"; "(2 of 3)" where seeds are missing, "—" where all are."""
    if value is None:
        return MISSING
    count = str(value.n) if seeds in (None, value.n) else f"{value.n} of {seeds}"
    spread = "" if value.std is None else f" ± {value.std:.{digits}f}"
    return f"{value.mean:.{digits}f}{spread} ({count})"


def format_interval(interval: tuple[float, float] | None, before: str = "", sign: str = "+") -> str:
    """ "[-1.20, +0.31]" after ``before``; nothing where there is none."""
    if interval is None:
        return ""
    low, high = interval
    return f"{before}[{low:{sign}.2f}, {high:{sign}.2f}]"


def format_p(p: float) -> str:
    """Three digits, or "<0.001"."""
    return "<0.001" if p < 0.0005 else f"{p:.3f}"


def unrounded(value: float | None) -> str:
    """For other programs: six digits, or nothing."""
    return "" if value is None else f"{value:.6g}"


def unrounded_statistic(value: Statistic | None) -> list[str]:
    """Mean and standard deviation."""
    return ["", ""] if value is None else [unrounded(value.mean), unrounded(value.std)]
