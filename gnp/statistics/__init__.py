"""What can be said of numbers that were measured a few times. Needs no torch."""

from gnp.statistics.means import Statistic, is_lowest

__all__ = ["Statistic", "is_lowest"]
