"""A check run of the whole site is true: over a facility that stands it finds nothing to do."""

from __future__ import annotations

import pytest
from site_run import play


@pytest.mark.long
def test_it_has_nothing_to_do() -> None:
    done = play("../site.yml", "--check")
    assert done.status == 0, done.said
    assert done.changes == []
