"""The embedded server, used by a process that forks: one for all, stopped by the last."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.embedded.data_folder import is_running
from tests.families import ENDS, REFUSED, told
from tests.support import until

pytestmark = pytest.mark.server


@ENDS
def test_the_embedded_server_is_found_by_every_child(
    folder: Path, is_async: bool, way: str
) -> None:
    """Made before the fork, children and parent share one server, which ends with the last."""
    call = f"family({is_async}, 'path', 'unopened', {way!r}, {str(folder)!r})"
    children, parent = told(call)
    assert children == ["2 4"] * 3
    assert parent == [2, 4]
    until(lambda: not is_running(folder))


@ENDS
def test_a_childs_end_leaves_the_parents_embedded_server(
    folder: Path, is_async: bool, way: str
) -> None:
    """Used before the fork, children are refused, and their end stops no server."""
    children, parent = told(f"family({is_async}, 'path', 'used', {way!r}, {str(folder)!r})")
    assert children == [REFUSED] * 3
    assert parent == [2, 4, 6]
    until(lambda: not is_running(folder))
