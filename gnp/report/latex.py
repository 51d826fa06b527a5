r"""A grid as LaTeX, to be \input into a paper that uses booktabs."""

from collections.abc import Iterable

from gnp.report.grid import Grid

ESCAPES = str.maketrans(
    {
        "%": r"\%",
        "&": r"\&",
        "_": r"\_",
        "#": r"\#",
        "—": "--",
        "±": r"$\pm$",
        "×": r"$\times$",
        "†": r"$^\dagger$",
        "α": r"$\alpha$",
        "≥": r"$\ge$",
        "−": "$-$",
    }
)


def tabular(grid: Grid) -> list[str]:
    """The lines of a ``tabular``."""
    numbers = len(grid.headers) - grid.label_columns
    out = [rf"\begin{{tabular}}{{{'l' * grid.label_columns}{'r' * numbers}}}", r"\toprule"]
    out.append(_line(map(escape, grid.headers)))
    for line in grid.lines:
        if line.first:
            out.append(r"\midrule")
        entries = [
            rf"\textbf{{{escape(e.text)}}}" if e.best else escape(e.text) for e in line.entries
        ]
        out.append(_line([*map(escape, line.labels), *entries]))
    return [*out, r"\bottomrule", r"\end{tabular}"]


def escape(text: str) -> str:
    return text.translate(ESCAPES)


def _line(texts: Iterable[str]) -> str:
    return " & ".join(texts) + r" \\"
