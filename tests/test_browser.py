"""Pages in a headless browser: they show everything at every width, and ask for nothing.

Skipped where playwright or its browser is not installed; tests/browser.py says how to."""

from pathlib import PurePath

import pytest
from browser import OVERPRINTED, VIEWS, Complaint, axe, browser, checked, opened, wrong_with
from records import PART, add_predictions, predictions, write_record
from test_report import recorded, rendered, write_index

from gnp.tables import Run, collect

pytest.importorskip("playwright", reason="playwright is not installed")

REPORT = "tables/small/report.html"
LONG = [{**PART["rows"][0], "label": "A network with a long name, wide and deep, of many words"}]


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import Error

    try:
        with browser() as launched:
            yield launched
    except Error as error:
        pytest.skip(f"no browser: {str(error).splitlines()[0]}")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A results root with a table, its page and the index; and in ``troubled`` another one, of
    long names, in which runs failed, were stopped, damaged and never begun."""
    folder = tmp_path_factory.mktemp("root")
    table = recorded(folder)
    rendered(table)
    write_index(folder)
    rendered(table)
    troubled = recorded(folder / "troubled", rows=LONG)
    cells = list(troubled.cells)
    for cell, log in zip(cells, ("train.py: no room left\n", "epoch 1\n" * 40, None), strict=True):
        place = Run(cell, 1).folder(folder / "troubled")
        (place / "summary.json").unlink()
        if log is not None:
            (place / "log.txt").write_text(log)
    (Run(cells[0], 2).folder(folder / "troubled") / "metrics.jsonl").write_text("{}")
    rendered(collect(troubled.spec, folder / "troubled"))
    write_index(folder / "troubled")
    place = write_record(folder / "long", LongNames(), [50.0])
    (place / "log.txt").write_text("epoch 1\n")
    add_predictions(place, predictions([0, 1], [0, 1], [0.1, 0.1], [0.9, 0.9]))
    write_index(folder / "long")
    return folder


class LongNames:
    """A run with names as long as published ones."""

    seed = 1000
    path = PurePath(
        "mini/pyramidnet_272_200_sd/cifar100_10k-autoaugment_cutmix",
        "tune_gnp_half_100_lr0.352_weight_decay0.000159_r0.0416_alpha0.636/seed1000",
    )

    def folder(self, root):
        return root / "runs" / self.path


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [f"{root}{page}" for root in ("", "troubled/") for page in ("index.html", REPORT)]
    + ["long/index.html"],
)
def test_nothing_is_wrong_with_a_page_in_any_view(chromium, root, page):
    assert wrong_with(chromium, root / page) == []
    if axe() is None:
        pytest.skip("axe-core is not here: GNP_AXE names its axe.min.js")


@pytest.mark.slow
def test_all_of_a_run_is_seen_on_a_desk_without_scrolling(chromium, root):
    with opened(chromium, root / "long/index.html", 1280) as (page, _):
        assert page.locator("table.filtered tbody tr").count() == 1
        cells = page.locator("table.filtered tbody tr > *").all()
        assert len(cells) == 14
        for cell in cells:
            box = cell.bounding_box()
            assert 0 <= box["x"] < box["x"] + box["width"] <= 1280


@pytest.mark.slow
def test_what_is_wrong_is_noticed(chromium, tmp_path):
    file = tmp_path / "bad.html"
    file.write_text(
        "<!doctype html><html><body style='width: 3000px'><img src='https://example.org/x.png'>"
        "<p style='color: #eee'>pale</p><script>console.log('said'); none()</script></body></html>"
    )
    found = " ".join(map(str, wrong_with(chromium, file)))
    for what in ("request: https://example.org", "console: said", "error: none", "too wide"):
        assert found.count(what) >= len(VIEWS)
    if axe() is not None:
        assert "axe: color-contrast" in found
    *lines, counted = checked(chromium, [file], None)
    assert f"{file}: {len([x for x in lines if isinstance(x, Complaint)])} found" in lines
    for what in ("errors of scripts", "requests", "things too wide"):
        assert f", {len(VIEWS)} {what}" in counted
    assert counted.endswith(", 0 texts over others or out of their boxes")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("<table><td style='max-width: 4em; white-space: nowrap'>a name that is too long</td>"
         "<td>next</td></table>", ["runs out of its TD: \"a name", "too long\" over \"next\""]),
        ("<h2 style='width: 3em; white-space: nowrap'>a long heading</h2>", ["runs out of its H2"]),
        ("<p>first</p><p style='margin-top: -2em'>second</p>", ["\"first\" over \"second\""]),
        ("<svg width=90><text y=20>label</text><text x=9 y=22>other</text></svg>",
         ["\"label\" over \"other\""]),
        ("<div style='height: 2em; overflow: auto'>1<br>2<br>3<br>4</div><p style='margin: 0'>seen",
         []),
        ("<div style='width: 4em; overflow: auto; white-space: nowrap; float: left'>it scrolls, so "
         "nothing is lost</div><p>beside", []),
        ("<p style='line-height: 1.3'>line<br>line<br>line</p>", []),
    ],
)  # fmt: skip
def test_text_over_text_or_beyond_its_box_is_noticed_and_what_scrolls_is_not(
    chromium, tmp_path, body, words
):
    (tmp_path / "page.html").write_text(f"<!doctype html><html lang=en><body>{body}</body></html>")
    with opened(chromium, tmp_path / "page.html", 390) as (page, _):
        found = page.evaluate(OVERPRINTED)
    assert len(found) == len(words), found
    for word in words:
        assert any(word in one for one in found)


@pytest.mark.slow
def test_a_click_sorts_and_a_word_filters(chromium, root):
    with opened(chromium, root / "index.html") as (page, complaints):
        table = page.locator("table.filtered")
        errors = table.locator("tbody tr td:nth-child(6)")
        heading = table.get_by_role("button", name="error, %", exact=True)
        heading.click()
        values = [float(text) for text in errors.all_inner_texts()]
        assert values == sorted(values)
        assert table.locator("th[aria-sort=ascending]").inner_text().startswith("error")
        heading.click()
        assert [float(text) for text in errors.all_inner_texts()] == sorted(values, reverse=True)
        page.get_by_label("Rows with").fill("GNP  seed0")
        assert page.locator("tbody tr:visible").count() == 0
        page.get_by_label("Rows with").fill("gnp d-basic")
        assert page.locator("tbody tr:visible").count() == 3
        assert "3 of 9" in page.locator("output").inner_text()
        assert complaints == []


@pytest.mark.slow
def test_without_script_everything_is_there_and_nothing_is_offered_that_does_not_work(
    chromium, root
):
    with opened(chromium, root / "index.html", script=False) as (page, complaints):
        assert page.locator("table.filtered tbody tr").count() == 9
        assert page.locator("button, input").count() == 0
        assert complaints == []
