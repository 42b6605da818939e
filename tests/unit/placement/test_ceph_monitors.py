"""The connection to the monitors, where there is none."""

import venv
from pathlib import Path

import pytest

from appliance.placement.errors import ClusterError
from appliance.placement.service.ceph_monitors import CephClientOptions, Monitors


def test_a_python_without_cephs_bindings_says_what_to_install(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", symlinks=True)
    python = tmp_path / "bare/bin/python"
    monitors = Monitors(CephClientOptions("placement", tmp_path / "ceph.conf", tmp_path / "keyring", str(python)))
    with pytest.raises(ClusterError, match="install python3-rados"):
        monitors.ask({"prefix": "osd stat"})


def test_a_python_that_is_not_there_is_named(tmp_path: Path) -> None:
    monitors = Monitors(
        CephClientOptions("placement", tmp_path / "ceph.conf", tmp_path / "keyring", str(tmp_path / "python9"))
    )
    with pytest.raises(ClusterError, match="python9 cannot be started"):
        monitors.ask({"prefix": "osd stat"})
