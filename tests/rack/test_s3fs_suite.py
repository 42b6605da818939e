"""s3fs's own tests in a researcher's Python against a real gateway: what passes with s3fs passes with ours too.

They are in s3fs's source package alone, which is fetched in the version, and with one of the hashes, of the lock.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_packed
from machines import STORES, ask, run_on
from researcher import Notebook, Researcher

from appliance.demo.facility import Facility
from appliance.depot import locks

LOCK = Path(__file__).parents[2] / "requirements/control.lock"
PLUGIN = Path(__file__).parent / "s3fs_suite.py"
HOME = "/home/alice/s3fs-suite"
USER = "s3fs-suite"  # of the gateways: all its buckets are deleted between the tests
SECONDS = 3000
# Of reading and writing, where ours goes other ways than s3fs.
SOME = (
    *("test_simple", "test_read_small", "test_readinto", "test_read_s3_block"),
    *(
        "test_write_small",
        "test_write_blocks",
        "test_write_large",
        "test_append",
        "test_cat_missing",
        "test_cat_ranges",
    ),
    *("test_pipe_cat_big", "test_cat_file_parallel", "test_get_file_parallel_integrity"),
    *("test_versioned_file_fullpath", "test_multipart_upload_blocksize", "test_copy_managed", "test_versions_unaware"),
)


def source_package(folder: Path) -> Path:
    """Fetch s3fs's, by pip, which refuses one that has none of the lock's hashes."""
    (wanted,) = (package for package in locks.parse(LOCK) if package.name == "s3fs")
    (folder / "wanted.txt").write_text(f"{wanted.text}\n", encoding="utf-8")
    command = [
        *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet", "--require-hashes"),
        *("--no-deps", "--no-binary", "s3fs", "--no-build-isolation", "--dest", str(folder)),
        *("--requirement", str(folder / "wanted.txt")),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / f"s3fs-{wanted.version}.tar.gz"


def packed(source: Path) -> bytes:
    """The source package's modules and tests, our plugin, and pytest of this environment."""
    whole = io.BytesIO()
    with tarfile.open(source) as given, tarfile.open(fileobj=whole, mode="w") as archive:
        for member in given.getmembers():
            member.name = member.name.partition("/")[2]
            if member.isfile() and member.name.startswith("s3fs/"):
                archive.addfile(member, given.extractfile(member))
        archive.add(PLUGIN, PLUGIN.name)
        pytest_packed.add(archive)
    return whole.getvalue()


@pytest.fixture(scope="module")
def notebook(facility: Facility, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    """Alice's, with the tests in her home, and ``keys`` of an S3 user who has nothing."""
    content = packed(source_package(tmp_path_factory.mktemp("s3fs")))
    made = json.loads(ask(STORES[0], f"radosgw-admin user create --uid {USER} --display-name {USER}"))["keys"][0]
    keys = {"AWS_ACCESS_KEY_ID": made["access_key"], "AWS_SECRET_ACCESS_KEY": made["secret_key"]}
    try:
        facility.run("head1", "install", "-d", "-o", "alice", HOME)
        facility.run("head1", "tar", "-x", "-C", HOME, "--no-same-owner", given=content)
        with Researcher(facility, "alice", SECONDS) as researcher, researcher.notebook() as notebook:
            notebook.run(f"import json, os, subprocess, sys; keys = {keys}; say()")
            yield notebook
    finally:
        run_on(STORES[0], f"radosgw-admin user rm --uid {USER} --purge-data")
        facility.run("head1", "rm", "-r", HOME)


def outcomes(notebook: Notebook, whose: str, chosen: str) -> dict[str, str]:
    """What becomes of each test with a filesystem, "s3fs" or "ours"."""
    results = f"{HOME}/{whose}.json"
    said = notebook.run(f"""
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "--tb=line", "-c", "/dev/null", "--rootdir", "{HOME}",
             "-p", "no:cacheprovider", "-p", "s3fs_suite", "s3fs/tests", "-k", "{chosen}"],
            cwd="{HOME}", capture_output=True, text=True, timeout={SECONDS // 2 - 100},
            env={{**os.environ, **keys, "PYTHONPATH": "{HOME}", "SUITE_FILESYSTEM": "{whose}",
                 "SUITE_RESULTS": "{results}"}},
        )
        found = json.load(open("{results}")) if os.path.exists("{results}") else {{}}
        say(found=found, printed=ended.stdout[-6000:] + ended.stderr[-2000:])
    """)
    print(f"\n{whose}:\n{said['printed']}")
    found: dict[str, str] = said["found"]
    assert "passed" in found.values(), said["printed"]
    return found


@pytest.mark.parametrize(
    "chosen", [pytest.param(" or ".join(SOME), id="some"), pytest.param("", id="all", marks=pytest.mark.long)]
)
def test_what_passes_with_s3fs_passes_with_ours(notebook: Notebook, chosen: str) -> None:
    plain, ours = (outcomes(notebook, whose, chosen) for whose in ("s3fs", "ours"))
    assert plain.keys() == ours.keys()
    print("\n  tests  with s3fs  with ours")
    for (before, after), count in sorted(Counter((plain[name], ours[name]) for name in plain).items()):
        print(f"{count:7}  {before:9}  {after}")
    assert {name: ours[name] for name in plain if plain[name] == "passed" != ours[name]} == {}
