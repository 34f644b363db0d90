"""The page as Chromium shows it: silent, no wider than a phone, and dark where the reader's system is."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed: apt install chromium")
QUIET = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
QUIET += ["--disable-sync", "--no-sandbox", "--hide-scrollbars", "--enable-logging=stderr", "--v=0"]
PHONE = 390
MEASURE = """
<script>
addEventListener("load", () => {
  document.querySelectorAll("details").forEach(one => one.open = true);
  const wide = [...document.querySelectorAll("body *")].filter(one => !one.closest(".wide .wide, .wide > *")
    && one.getBoundingClientRect().right > innerWidth + 1).map(one => one.tagName);
  const sizes = [document.documentElement.scrollWidth, innerWidth, document.querySelectorAll("svg[role=img]").length];
  document.title = JSON.stringify({sizes, wide});
});
</script>
"""


def _shown(page: Path, home: Path, *asked: str) -> tuple[str, str]:
    """What Chromium prints and what it logs of a page."""
    assert BROWSER is not None
    command = [BROWSER, "--headless", f"--user-data-dir={home / 'profile'}", *QUIET, *asked, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    return done.stdout, done.stderr


def test_nothing_is_wider_than_a_phone(page: str, tmp_path: Path) -> None:
    """Tables and figures may be, in boxes of their own that scroll."""
    path = tmp_path / "measured.html"
    path.write_text(page.replace("</body>", f"{MEASURE}</body>"), encoding="utf-8")
    dump, log = _shown(path, tmp_path, f"--window-size={PHONE},800", "--dump-dom")
    told = json.loads(re.search(r"<title>(\{.*?\})</title>", dump)[1])  # type: ignore[index]
    scrolled, inner, figures = told["sizes"]
    assert "CONSOLE" not in log and figures >= 12
    assert scrolled <= inner and not told["wide"], told
    assert inner <= 500, "some headless browsers are no narrower"


def test_a_dark_system_gets_a_dark_page(page: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the picture is read by matplotlib")
    from matplotlib.image import imread

    path = tmp_path / "page.html"
    path.write_text(page, encoding="utf-8")
    backgrounds = []
    for asked in ([], ["--blink-settings=preferredColorScheme=0"]):
        picture = tmp_path / f"{len(backgrounds)}.png"
        _, log = _shown(path, tmp_path, f"--window-size={PHONE},900", f"--screenshot={picture}", *asked)
        assert "CONSOLE" not in log
        backgrounds.append(imread(picture)[3, 3, :3].mean())
    assert backgrounds[0] > 0.95 and backgrounds[1] < 0.2, backgrounds
