"""Which line of a CSV file is at fault, and that no line is left out silently."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micgraph import read_log
from micgraph.graph.csv_faults import find
from micgraph.schema import InputError

HEADER = "user_id,item_id,timestamp"
ROWS = [f"u{n},i{n},2024-03-01 10:00:{n:02d}" for n in range(20)]


def written(folder: Path, lines: list[str], name: str = "log.csv", end: str = "\n") -> Path:
    path = folder / name
    text = end.join(lines).encode()
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return path


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_whole_file_has_no_fault(tmp_path: Path, name: str, end: str) -> None:
    lines = [HEADER, '"u,1","i ""1""","2024-03-01"', '"a\nb",i2,2024-03-02', *ROWS]
    path = written(tmp_path, lines if end == "\n" else [HEADER, *ROWS], name, end)
    assert find(path) is None


def test_the_number_of_the_line_counts_lines_and_not_rows(tmp_path: Path) -> None:
    path = written(tmp_path, [HEADER, '"a\nb",i2,2024-03-02', *ROWS[:3], "u1,i1"])
    fault = find(path)
    assert fault is not None
    assert fault.got == "2 in line 7 ('u1,i1')"
    assert fault.expected == "3 fields in every line, as in the first"


def test_other_encodings_and_line_ends(tmp_path: Path) -> None:
    for content, got in (
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        ("a,b\n1,2\n".encode("utf-32"), "UTF-32"),
        ("a,b\n1,2\né,2\n".encode("latin-1"), "other bytes in line 3"),
        (b"a,b\r\n1,2\n3,4\r", "1 with \\r\\n, 1 with \\n, 1 with \\r"),
    ):
        path = tmp_path / "log.csv"
        path.write_bytes(content)
        fault = find(path)
        assert fault is not None and fault.got == got


def test_no_file_and_no_gzip_have_no_known_fault(tmp_path: Path) -> None:
    assert find(tmp_path / "none.csv") is None
    path = tmp_path / "noise.csv.gz"
    path.write_bytes(b"\x1f\x8bnoise")
    assert find(path) is None


def test_ids_that_begin_with_a_hash_are_read(tmp_path: Path) -> None:
    """DuckDB takes them for remarks where it finds other lines with # that do not fit."""
    log = read_log(written(tmp_path, [HEADER, *ROWS, *(f"#{row}" for row in ROWS)]))
    assert len(log) == 40
    with pytest.raises(InputError, match="1 in line 22"):
        read_log(written(tmp_path, [HEADER, *ROWS, "# and now", *(f"#{row}" for row in ROWS)]))


def test_two_files_one_after_the_other_are_refused(tmp_path: Path) -> None:
    """DuckDB skips the first where the second has more columns."""
    longer = [f"{HEADER},event", *(f"{row},view" for row in ROWS[:5])]
    with pytest.raises(InputError, match="4 in line 22"):
        read_log(written(tmp_path, [HEADER, *ROWS, *longer]))


@given(
    at=st.integers(0, len(ROWS)),
    wrong=st.sampled_from(
        ["", "# x", "x", "u9,i9", "u9,i9,2024-03-01 11:00:00,z", "#u9,i9,2024-03-01 11:00:00", "title"]
    ),
    again=st.integers(1, 3),
)
def test_every_line_is_an_event_or_the_file_is_refused(
    tmp_path_factory: pytest.TempPathFactory, at: int, wrong: str, again: int
) -> None:
    lines = [HEADER, *ROWS[:at], *[wrong] * again, *ROWS[at:]]
    path = written(tmp_path_factory.mktemp("csv"), lines)
    fits = not wrong or wrong.count(",") == 2
    if not fits:
        with pytest.raises(InputError, match=f"in line {at + 2} "):
            read_log(path)
    else:
        log = read_log(path)
        assert len(log) + sum(log.refused.values()) == len(ROWS) + (again if wrong else 0)
