"""Importing this has registered every mutation."""

from __future__ import annotations

from tests.fuzz import columns, files, settings, values

LOADED = (columns, files, settings, values)
