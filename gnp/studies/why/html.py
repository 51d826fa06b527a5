"""A study of why it works as a page that needs nothing else: report.html."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from gnp.report.numbers import MISSING
from gnp.report.page import Definition, Figure, Page, Part, Section, Table, Text, link
from gnp.report.series_page import series_page
from gnp.studies.why.result import WhyResult
from gnp.studies.why.spec import Measurement
from gnp.studies.why.store import FILE
from gnp.tracking.reading import code_name

NOTHING = "Nothing has been measured."


def to_page(
    result: WhyResult, tables: Sequence[Table], notes: Sequence[str], finding: str, figure: Figure
) -> Page:
    """Args:
    tables: its numbers.
    notes: what must be read with them.
    finding: what they say, in a sentence; "" where nothing is measured.
    """
    sections = [
        Section("Figure", [figure]),
        Section("Numbers", tables),
        Section("Measured with", list(_measured_with(result))),
    ]
    return series_page(result, result.folder, notes, finding or NOTHING, sections)


def _measured_with(result: WhyResult) -> Iterator[Part]:
    """The measurements by the code and the machine that they were made with."""
    if not result.made:
        yield Text(NOTHING)
        return
    files = link("study.csv", "study.csv"), link(FILE, FILE)
    yield Text(Markup("In six digits: {}. As they were measured: {}.").format(*files))
    together: dict[tuple[str, ...], list[Measurement]] = {}
    for measurement, made in result.made.items():
        together.setdefault(_made(made), []).append(measurement)
    yield Definition(
        [
            (f"measured-{number}", name, [*about, "; ".join(one.name for one in measurements)])
            for number, ((name, *about), measurements) in enumerate(together.items(), 1)
        ]
    )


def _made(made: Mapping[str, Any]) -> tuple[str, ...]:
    """Code, versions and machine."""
    packages = made.get("packages") or {}
    versions = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
    machine = made.get("processor") or MISSING, made.get("device") or MISSING
    return (
        f"Code {code_name(made.get('code') or {})}",
        versions or MISSING,
        "processor: {}, device: {}".format(*machine),
    )
