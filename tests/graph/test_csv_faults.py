"""Which line of a CSV file is at fault, and that no line is left out silently."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from micgraph import read_log
from micgraph.graph import ingest
from micgraph.graph.csv_faults import find
from micgraph.schema import ArtifactError, InputError

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
        ("\ufeffa,b\n1,2\n".encode("utf-16-be"), "UTF-16 with the high byte first"),
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


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_blank_lines_above_the_header_change_nothing(tmp_path: Path, name: str, end: str) -> None:
    rows = [f"{n},{n},{1_600_000_000 + n},2.5" for n in range(3)]
    log = read_log(written(tmp_path, ["", " ", f"{HEADER},duration", *rows, ""], name, end))
    assert not log.refused
    assert log.sql("SELECT user_id FROM {events} ORDER BY 1").column(0).to_pylist() == [0, 1, 2]


def test_files_with_and_without_blank_lines_are_read_together(tmp_path: Path) -> None:
    """Each file's own columns are those of the table, and an id stays the text that it is."""
    first = written(tmp_path, [HEADER, "1,a,1600000000"], "a.csv")
    second = written(tmp_path, ["", f"{HEADER},duration", "007,b,1600000001,2.5"], "b.csv")
    third = written(tmp_path, ["", "", HEADER, "1,c,1600000002"], "c.csv")
    log = read_log([first, second, third])
    rows = log.sql("SELECT user_id, item_id, duration FROM {events} ORDER BY 2").to_pylist()
    assert [tuple(row.values()) for row in rows] == [("1", "a", None), ("007", "b", 2.5), ("1", "c", None)]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_blank_lines_of_a_utf_16_file(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text(mark + "\n\n" + "\n".join([HEADER, *ROWS]), encoding="utf-16-le")
    assert len(read_log(path, encoding="utf-16")) == len(ROWS)


@pytest.mark.parametrize("encoding", [None, "latin-1"])
def test_windows_1252_is_refused_with_what_helps(tmp_path: Path, encoding: Any) -> None:
    path = tmp_path / "log.csv"
    path.write_text("\n".join([f"{HEADER},title", "1,a,1600000000,5 €"]), encoding="cp1252")
    with pytest.raises(InputError, match="other bytes in line 2") as error:
        read_log(path, encoding=encoding)
    assert "iconv -f WINDOWS-1252" in error.value.remedy and "latin-1" not in error.value.remedy


@pytest.mark.parametrize(("encoding", "mark"), [("utf-16", ""), ("utf-16", "\ufeff"), (None, "\ufeff")])
def test_utf_16_with_the_high_byte_first_is_refused(tmp_path: Path, encoding: Any, mark: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text(mark + "\n".join([HEADER, *ROWS]), encoding="utf-16-be")
    with pytest.raises(InputError, match="UTF-16 with the high byte first") as error:
        read_log(path, encoding=encoding)
    assert error.value.remedy == "save it as UTF-8"


def test_line_ends_within_quotes_are_no_other_kind(tmp_path: Path) -> None:
    rows = [HEADER, '"a\nb",i1,2024-03-01', "u1,i1,2024-03-01"]
    assert find(written(tmp_path, rows, end="\r\n")) is None
    fault = find(written(tmp_path, [*rows, "u1"], end="\r\n"))
    assert fault is not None and fault.got == "1 in line 5 ('u1')"


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
def test_a_large_file_is_not_held_in_memory(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, [HEADER, *ROWS * 10_000, "u1,i1"], name)
    tracemalloc.start()
    fault = find(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert fault is not None and fault.got.startswith("2 in line 200002")
    assert peak < 1_000_000


def test_a_full_disk_is_no_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise duckdb.IOException("No space left on device")

    monkeypatch.setattr(ingest, "_own_columns", full)
    with pytest.raises(ArtifactError, match="room on its disk"):
        read_log(written(tmp_path, [HEADER, "u1,i1"]))


@given(
    at=st.integers(0, len(ROWS)),
    wrong=st.sampled_from(
        ["", "# x", "x", "u9,i9", "u9,i9,2024-03-01 11:00:00,z", "#u9,i9,2024-03-01 11:00:00", "title"]
    ),
    again=st.integers(1, 3),
    blank=st.lists(st.sampled_from(["", "  ", "\t"]), max_size=3),
)
def test_every_line_is_an_event_or_the_file_is_refused(
    tmp_path_factory: pytest.TempPathFactory, at: int, wrong: str, again: int, blank: list[str]
) -> None:
    lines = [*blank, HEADER, *ROWS[:at], *[wrong] * again, *ROWS[at:]]
    path = written(tmp_path_factory.mktemp("csv"), lines)
    fits = not wrong or wrong.count(",") == 2
    if not fits:
        with pytest.raises(InputError, match=f"in line {len(blank) + at + 2} "):
            read_log(path)
    else:
        log = read_log(path)
        assert len(log) + sum(log.refused.values()) == len(ROWS) + (again if wrong else 0)
