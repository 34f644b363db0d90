"""Importing this has registered every mutation."""

from __future__ import annotations

from tests.fuzz import columns, formats, settings, values

LOADED = (columns, formats, settings, values)
