r"""A grid as LaTeX, to be \input into a paper that uses booktabs.

Every text says in print what it says here, whatever characters are in it. What pdfLaTeX has no
character for (Chinese, say) is left as it is, for LuaLaTeX and XeLaTeX.
"""

import re
from collections.abc import Iterable

from gnp.report.grid import Grid

ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    "—": "--",
    "–": "--",
    "†": r"$^\dagger$",
    "−": "$-$",
    "·": r"$\cdot$",
    "²": "$^2$",
    "³": "$^3$",
    "¹": "$^1$",
    "‖": r"$\Vert$",
    "½": r"$\frac12$",
    "¼": r"$\frac14$",
    "…": r"\ldots{}",
    "\N{NO-BREAK SPACE}": "~",
}
ESCAPES |= {character: f"\\{character}" for character in "%&_#${}"}
# A row that begins with one of these would give it to the \\ before it as an argument.
ESCAPES |= {character: f"{{{character}}}" for character in "[*"}
# A sign and its name in mathematics.
SIGNS = """
± pm × times ÷ div ≤ le ≥ ge ≈ approx ≠ ne → to ← gets ∞ infty ∇ nabla ∂ partial √ surd ∑ sum ∏ prod
∈ in α alpha β beta γ gamma δ delta ε epsilon ζ zeta η eta θ theta ι iota κ kappa λ lambda μ mu ν nu
ξ xi π pi ρ rho ς varsigma σ sigma τ tau υ upsilon φ phi χ chi ψ psi ω omega Γ Gamma Δ Delta Θ Theta
Λ Lambda Ξ Xi Π Pi Σ Sigma Φ Phi Ψ Psi Ω Omega µ mu
"""
ESCAPES |= {sign: f"$\\{name}$" for sign, name in re.findall(r"(\S) (\w+)", SIGNS)}
ESCAPES |= {"°": r"$^\circ$", "ο": "o"}
TABLE = str.maketrans(ESCAPES)


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


def comment(text: str) -> list[str]:
    """A text of any number of lines as comments."""
    return [f"% {line}".rstrip() for line in text.splitlines()]


def escape(text: str) -> str:
    # Two hyphens, apostrophes or commas in a row would be one sign.
    apart = re.sub(r"([-',])(?=\1)", r"\1" + "\0", text)
    return apart.translate(TABLE).replace("\0", "{}")


def _line(texts: Iterable[str]) -> str:
    return " & ".join(texts) + r" \\"
