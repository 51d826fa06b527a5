"""Pages read as a browser would, by the rules of HTML: what does not keep them is an error."""

from pathlib import Path
from urllib.parse import unquote

import html5lib

SCRIPTS = ("script", "style")


def tree(file):
    """The <html> of a page; raises html5lib's ParseError for what is no HTML."""
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    return parser.parse(Path(file).read_text())


def texts(element):
    """All text in an element that is shown without its script, a space between two pieces."""
    found = [element.text or ""] if element.tag not in SCRIPTS else []
    for child in element:
        if child.tag == "wbr":  # the same word goes on
            found[-1] += child.tail or ""
        else:
            found += [texts(child), child.tail or ""]
    return " ".join(" ".join(found).split())


def rows(table):
    """[[text of each cell] of each row] of a table's body."""
    return [[texts(cell) for cell in row] for row in table.find("tbody")]


def table_of(page, heading):
    """The first table of the section below a heading."""
    (section,) = [s for s in page.iter("section") if s.find("h2") is not None
                  and texts(s.find("h2")) == heading]  # fmt: skip
    return next(section.iter("table"))


def check(file):
    """Everything that each page promises. Returns the page."""
    page = tree(file)
    _check_head(page.find("head"))
    assert page.attrib["lang"] == "en"
    assert len(list(page.iter("h1"))) == len(list(page.iter("main"))) == 1
    ids = [element.attrib["id"] for element in page.iter() if "id" in element.attrib]
    assert len(set(ids)) == len(ids)
    for element in page.iter():
        for name in ("aria-labelledby", "for"):
            assert element.attrib.get(name, ids[0]) in ids
    _check_names(page)
    _check_references(page, Path(file), ids)
    for table in page.iter("table"):
        _check_table(table)
    for picture in page.iter("{http://www.w3.org/2000/svg}svg"):
        named = picture.attrib.get("role") == "img" and picture.attrib.get("aria-label")
        assert named or picture.attrib.get("aria-hidden") == "true"
    return page


def _check_head(head):
    metas = {meta.attrib.get("name"): meta.attrib["content"] for meta in head.iter("meta")
             if "content" in meta.attrib}  # fmt: skip
    assert metas["viewport"] == "width=device-width, initial-scale=1"
    assert metas["description"].strip()
    assert texts(head.find("title")).strip()
    policy = next(m for m in head.iter("meta") if "http-equiv" in m.attrib).attrib["content"]
    assert policy.startswith("default-src 'none'")


def _check_names(page):
    """No two tables have one name: a screen reader lists them by it."""
    names = [texts(table.find("caption")) for table in page.iter("table")]
    assert [name for name in names if names.count(name) > 1] == []


def _check_references(page, file, ids):
    """Links lead to what is there; nothing is loaded."""
    for element in page.iter():
        tag = str(element.tag).rsplit("}", 1)[-1]
        assert tag not in ("img", "iframe", "object", "embed", "video", "audio", "form")
        assert "src" not in element.attrib
        for name, value in element.attrib.items():
            if name.rsplit("}", 1)[-1] != "href":
                continue
            if value.startswith("#"):
                assert value[1:] in ids, value
            elif value.startswith("data:"):
                assert tag in ("link", "image")
            else:
                assert tag == "a", (tag, value)
                assert not value.startswith("/"), "a root may be put elsewhere"
                assert (file.parent / unquote(value)).is_file(), value


def _check_table(table):
    assert texts(table.find("caption"))
    head = table.find("thead")
    columns = list(head)[-1]
    assert all(cell.tag == "th" and cell.attrib["scope"] == "col" for cell in columns)
    assert all(texts(cell) for cell in columns)
    for row in table.find("tbody"):
        assert len(row) == len(columns)
        assert row[0].tag == "th"
        assert all(cell.attrib["scope"] == "row" for cell in row if cell.tag == "th")
