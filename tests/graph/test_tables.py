"""Tables as text and as HTML."""

from __future__ import annotations

from micgraph.graph.tables import Table

TABLE = Table("film", ("clicks", "genre"), (("A & <B>", "1,200", "drama"), ("C", "7", "")), "2 of 9")


def test_numbers_stand_to_the_right_and_words_to_the_left() -> None:
    assert TABLE.text().split("\n") == ["film     clicks  genre", "A & <B>   1,200  drama", "C             7", "2 of 9"]


def test_html_is_escaped_and_may_leave_the_title_to_the_page() -> None:
    html = TABLE.html()
    assert "<th>film</th>" in html and '<th class="n">clicks</th><th>genre</th>' in html
    assert '<td>A &amp; &lt;B&gt;</td><td class="n">1,200</td><td>drama</td>' in html
    assert "film" not in TABLE.html(title=False) and "2 of 9" not in html


def test_a_table_without_rows() -> None:
    assert Table("none", ("count",), ()).text() == "none  count"
