"""Which mirror this host uses, from apt's own files."""

from __future__ import annotations

from pathlib import Path

from appliance.depot.mirror import mirrors, sources


def _apt(tmp_path: Path, **files: str) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    for name, text in files.items():
        path = tmp_path / ("sources.list" if name == "main" else f"sources.list.d/{name.replace('_', '.')}")
        path.write_text(text)
    return tmp_path


def test_deb822_with_comments_several_suites_and_a_security_archive(tmp_path: Path) -> None:
    apt = _apt(
        tmp_path,
        debian_sources="""\
# The site's mirror
Types: deb deb-src
URIs: http://mirror.example/debian/
Suites: bookworm
  bookworm-updates
Components: main contrib
# a comment within a stanza
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: https://mirror.example/debian-security
Suites: bookworm-security
Components: main
""",
    )

    found = mirrors(sources(apt))

    assert found.debian == "http://mirror.example/debian"
    assert found.security == "https://mirror.example/debian-security"


def test_one_line_sources_with_options(tmp_path: Path) -> None:
    apt = _apt(
        tmp_path,
        main="""\
deb-src http://sources.example/debian trixie main
# deb http://commented.example/debian trixie main
deb [arch=amd64 signed-by=/etc/apt/keys/a.gpg] http://one.example/debian trixie main  # ours
deb http://one.example/debian-security trixie-security main
""",
    )

    found = mirrors(sources(apt))

    assert (found.debian, found.security) == ("http://one.example/debian", "http://one.example/debian-security")


def test_third_parties_disabled_sources_and_files_are_passed_over(tmp_path: Path) -> None:
    apt = _apt(
        tmp_path,
        node_sources="Types: deb\nURIs: https://vendor.example/node_20.x\nSuites: nodistro\nComponents: main\n",
        off_sources="Types: deb\nURIs: http://off.example/debian\nSuites: trixie\nComponents: main\nEnabled: no\n",
        cd_list="deb cdrom:[Debian]/debian trixie main\n",
        old_bak="deb http://backup.example/debian trixie main\n",
    )

    found = mirrors(sources(apt))

    assert (found.debian, found.security) == (None, None)


def test_an_apt_without_sources_has_no_mirror(tmp_path: Path) -> None:
    assert mirrors(sources(tmp_path)).debian is None
