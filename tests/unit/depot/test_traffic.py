"""What the access log says about downloads."""

from __future__ import annotations

import json
from pathlib import Path

from appliance.depot.traffic import read, read_log


def _line(path: str, cache: str, upstream: str, status: int = 200, sent: int = 1000) -> str:
    return json.dumps({"path": path, "cache": cache, "upstream": upstream, "status": status, "sent": sent}) + "\n"


def test_hits_misses_and_bytes_are_summed_by_kind() -> None:
    totals = read(
        [
            _line("/debian/pool/main/a/a.deb", "MISS", "1200"),
            _line("/debian/pool/main/a/a.deb", "HIT", "-"),
            _line("/debian/dists/trixie/InRelease", "REVALIDATED", "300"),
            _line("/debian/dists/trixie/InRelease", "STALE", "0"),
            _line("/wheels/numpy.whl", "", "-"),
            _line("/debian-security/dists/trixie-security/InRelease", "MISS", "512, 2048 : 10"),
        ]
    )

    debian = totals["debian"]
    assert (debian.requests, debian.hits, debian.misses, debian.failures) == (4, 3, 1, 0)
    assert (debian.bytes_fetched, debian.bytes_served) == (1500, 4000)
    assert (totals["wheels"].hits, totals["wheels"].bytes_fetched) == (1, 0)
    assert totals["debian-security"].bytes_fetched == 2570


def test_nix_asking_for_what_was_never_built_is_no_failure_and_a_missing_package_is() -> None:
    totals = read([_line("/nix/abc.narinfo", "", "-", 404), _line("/debian/pool/x.deb", "MISS", "400", 404)])

    assert totals["nix"].failures == 0
    assert totals["debian"].failures == 1


def test_a_line_cut_short_is_passed_over() -> None:
    assert read([_line("/nix/a", "", "-"), '{"path": "/ni'])["nix"].requests == 1


def test_a_depot_that_never_ran_has_no_traffic(tmp_path: Path) -> None:
    assert read_log(tmp_path / "access.log") == {}
