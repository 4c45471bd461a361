"""The tree of the main example is the one that the docs show, as text and as a picture."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from examples.pageviews.app import PageViews
from structmode import Service
from structmode.utils.graphs import as_text

DOCS = Path(__file__).resolve().parents[2] / "docs"


async def test_the_docs_show_the_tree(tmp_path: Path) -> None:
    """The text is what `as_text` says of the running example, and the picture has the same names and states."""
    async with PageViews(str(tmp_path / "views.db"), "127.0.0.1", 0) as app:
        text = as_text(app)
        services: list[Service] = [node.data for node in app.beacon.traverse()]
    page = (DOCS / "how-to" / "draw-the-tree.md").read_text(encoding="utf-8")  # noqa: ASYNC240
    assert f"```text\n{text}\n```" in page
    picture = ElementTree.fromstring((DOCS / "_static" / "pageviews.svg").read_text("utf-8"))  # noqa: S314, ASYNC240
    words = [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert sorted(filter(None, words)) == sorted(
        word for service in services for word in (service.label, "running")
    )
