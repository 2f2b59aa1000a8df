"""docs/models.md is what `python -m bench.zoo --write` makes of the rows that it kept."""

from __future__ import annotations

from bench import zoo
from bench.zoo_list import MODELS


def test_page_is_made_from_the_rows() -> None:
    rows = zoo.read_rows()
    assert rows, "run `python -m bench.zoo --write`"
    assert set(rows) <= set(MODELS)
    assert zoo.PAGE.read_text(encoding="utf8") == zoo.page(rows)
