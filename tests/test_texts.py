"""Text that a user wrote is shown as written, wherever it is shown."""

import csv
import html
import io
import re
from xml.etree import ElementTree

import html5lib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from pages import texts as texts_of
from records import PART, SPEC, write_record
from rich.console import Console

from gnp.report import latex, markdown
from gnp.report.grid import Entry, Grid, Line
from gnp.report.terminal import grid_table
from gnp.tables import SpecError, TableSpec, collect, write_outputs
from gnp.tables.text import to_terminal

LABELS = [
    "λ = α·r",
    "a ~ b^2",
    "{x}",
    "50$ or 60$",
    r"C:\x",
    "<b>",
    "x | y",
    "GNP [ours]",
    "x [/y]",
]
LABELS += ["_hidden", "*s* _t_ `c`", "# & % #1", "&lt;", ":x:", "-- '' $$", "[1](u)", "~~o~~"]


def texts(alphabet):
    return st.text(alphabet, min_size=1, max_size=8).filter(lambda text: text == text.strip())


@settings(deadline=None, derandomize=True)
@given(texts("ab1 ~^\\{}$%&_#<>|`*[]-'+=.!()"))
def test_a_label_in_markdown_is_no_mark(text):
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    grid = Grid(["model", text], [Line([text], [Entry(text)])], 1)
    rendered = reader.render("\n".join(markdown._lines(grid)))
    cells = re.findall(r"<t[hd].*?>(.*?)</t[hd]>", rendered, re.S)
    assert [html.unescape(cell) for cell in cells[1:]] == [text] * 3
    paragraph = reader.render(markdown.paragraph(f"{text}\n{text}"))
    assert html.unescape(paragraph) == f"<p>{text}<br />\n{text}</p>\n"
    assert html.unescape(reader.render(markdown.code(text))) == f"<p><code>{text}</code></p>\n"


def read_latex(text):
    """What TeX sets of a text: commands by their meaning, groups gone. Fails on what is active."""
    for command, sign in (
        (r"\textbackslash{}", "\0"), (r"\textasciitilde{}", "\1"), (r"\textasciicircum{}", "\2"),
        (r"\textless{}", "<"), (r"\textgreater{}", ">"), (r"\textbar{}", "|"),
        (r"\textasciigrave{}", "`"), (r"$\alpha$", "α"), (r"$\lambda$", "λ"), (r"$\cdot$", "·"),
    ):  # fmt: skip
        text = text.replace(command, sign)
    for sign in "{}$%&_#":
        text = text.replace(f"\\{sign}", "\3" + str("{}$%&_#".index(sign)))
    assert not re.search(r"[\\$%&_#~^]", text), text
    assert not re.search(r"^\s*[\[*]|--|''|,,", text), text
    text = re.sub(r"\{([\[*]?)\}", r"\1", text)
    text = re.sub("\3(\\d)", lambda m: "{}$%&_#"[int(m[1])], text)
    return text.replace("\0", "\\").replace("\1", "~").replace("\2", "^")


@settings(deadline=None, derandomize=True)
@given(texts("aλα· ~^\\{}$%&_#<>|`*[]-',."))
def test_a_label_in_latex_is_no_command(text):
    assert read_latex(latex.escape(text)) == text


@pytest.mark.parametrize("label", LABELS)
def test_a_label_on_the_terminal_is_no_mark_of_rich(label):
    console = Console(width=200, file=io.StringIO())
    console.print(grid_table(label, Grid(["m", label], [Line([label], [Entry(label, True)])], 1)))
    assert console.file.getvalue().count(label) == 4


@pytest.fixture
def outputs(tmp_path):
    """The files of a table in which every label is odd, and what its terminal shows."""
    part = {
        "rows": [{"label": label, "experiment": f"e{i}"} for i, label in enumerate(LABELS)],
        "columns": [{"label": "50$ [x]", "dataset": "d", "augmentation": "b"}],
        "methods": [{"label": label, "optimizer": "gnp", "name": f"n{i}"}
                    for i, label in enumerate([*LABELS[:2], "_hidden"])],
    }  # fmt: skip
    note = "first $x$ [ours]\n# second_line {<b>}"
    spec = TableSpec.from_config({**SPEC, "seeds": [0], "parts": {"p": part}, "note": note})
    for run in spec.runs():
        write_record(tmp_path, run, [5.0, 4.0])
    table = collect(spec, tmp_path)
    console = Console(width=300, file=io.StringIO())
    console.print(*to_terminal(table))
    return {p.name: p.read_text() for p in write_outputs(table)} | {"": console.file.getvalue()}


def test_a_table_says_its_labels_in_every_file(outputs):
    report = texts_of(html5lib.parse(outputs["report.html"], namespaceHTMLElements=False))
    for label in LABELS:
        assert label in outputs[""]
        assert label in report
        assert markdown.escape(label) in outputs["table.md"]
        assert latex.escape(label) in outputs["table.tex"]
    models = {line["model"] for line in csv.DictReader(io.StringIO(outputs["table.csv"]))}
    assert models == set(LABELS)
    shown = "".join(ElementTree.fromstring(outputs["curves.svg"]).itertext())
    for label in LABELS:
        assert f"{label}, 50$ [x]" in shown
    for method in ("_hidden test", "λ = α·r training"):
        assert method in shown


def test_a_note_of_two_lines_is_two_lines_everywhere(outputs):
    assert "\n% first $x$ [ours]\n% # second_line {<b>}\n" in outputs["table.tex"]
    assert "first \\$x\\$ \\[ours\\]\\\n\\# second_line {\\<b\\>}\n" in outputs["table.md"]
    assert "first $x$ [ours]<br>\n# second_line {&lt;b&gt;}" in outputs["report.html"]


@pytest.mark.parametrize("label", ["two\nlines", "a\0", "bell\a", "\x1b[31m", "half \ud800"])
def test_a_label_with_control_characters_is_refused(label):
    rows = [{"label": label, "experiment": "e"}]
    with pytest.raises(SpecError, match="expected one line of text without control characters"):
        TableSpec.from_config({**SPEC, "parts": {"p": {**PART, "rows": rows, "published": None}}})
