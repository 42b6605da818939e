"""Promises that the whole tree keeps, asked of every file and every role."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
ROLES = sorted(path.name for path in (PROJECT / "roles").iterdir() if (path / "tasks").is_dir())
PLAYBOOKS = sorted((PROJECT / "playbooks").glob("*.yml"))
LONGEST_FILE = 400
# Lock files and recorded answers are written by programs and read by programs.
MACHINE_MADE = re.compile(r"(\.lock|\.json|\.ipynb|/answers/.*|^LICENSE)$")
# The rooms that a room may import from; what is not listed stands below everybody (design: arrows run downward).
MAY_IMPORT = {
    "placement": set(),
    "compute": {"placement"},
    "hub": {"compute"},
    "data": {"placement", "compute"},
    "simulate": {"placement", "compute"},
    "rack": set(),
    "depot": set(),
    "preflight": set(),
    "verify": {"compute"},
}


class Loader(yaml.SafeLoader):
    """Reads Ansible's own tags as nothing."""


Loader.add_multi_constructor("!", lambda *_: None)


def load(path: Path) -> Any:
    return yaml.load(path.read_text(), Loader=Loader) if path.is_file() else None  # noqa: S506


@cache
def files() -> tuple[Path, ...]:
    """The tree's files: what git knows, and what it would take up."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    return tuple(PROJECT / name for name in sorted(set(listed.split("\0"))) if name and (PROJECT / name).is_file())


@cache
def texts() -> dict[str, str]:
    """The tree's text files by their names."""
    found = {}
    for path in files():
        raw = path.read_bytes()
        if b"\0" not in raw[:8192]:
            found[str(path.relative_to(PROJECT))] = raw.decode("utf-8")
    return found


def options(role: str) -> dict[str, Any]:
    specs = load(PROJECT / "roles" / role / "meta/argument_specs.yml") or {}
    found: dict[str, Any] = specs.get("argument_specs", {}).get("main", {}).get("options") or {}
    return found


def defaults(role: str) -> dict[str, Any]:
    return load(PROJECT / "roles" / role / "defaults/main.yml") or {}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_says_what_it_is_and_what_it_takes(role: str) -> None:
    folder = PROJECT / "roles" / role
    assert (load(folder / "meta/main.yml") or {}).get("galaxy_info", {}).get("description"), (
        "meta/main.yml: description"
    )
    main = (load(folder / "meta/argument_specs.yml") or {}).get("argument_specs", {}).get("main", {})
    assert main.get("short_description"), "meta/argument_specs.yml: main.short_description"
    undescribed = [name for name, option in options(role).items() if not option.get("description")]
    assert undescribed == []


@pytest.mark.parametrize("role", ROLES)
def test_every_default_of_a_role_is_documented_and_every_documented_default_is_there(role: str) -> None:
    own, told = defaults(role), options(role)
    assert sorted(set(own) - set(told)) == [], "in defaults/main.yml, not in argument_specs.yml"
    optional = {name for name, option in told.items() if name.startswith(f"{role}_") and not option.get("required")}
    assert sorted(optional - set(own)) == [], "neither required in argument_specs.yml nor in defaults/main.yml"
    required = {name for name, option in told.items() if option.get("required")}
    assert sorted(required & set(own)) == [], "required, and yet with a default"


@pytest.mark.parametrize("role", ROLES)
def test_a_documented_default_is_the_default(role: str) -> None:
    """Where both are plain values. An expression is described in words."""
    own = defaults(role)
    told = {name: option["default"] for name, option in options(role).items() if "default" in option and name in own}
    plain = {
        name: (value, own[name])
        for name, value in told.items()
        if not isinstance(own[name], (str, dict, list)) and not isinstance(value, (dict, list))
    }
    assert {name: pair for name, pair in plain.items() if str(pair[0]) != str(pair[1])} == {}


@pytest.mark.parametrize("role", ROLES)
def test_a_roles_variables_bear_its_name(role: str) -> None:
    assert [name for name in defaults(role) if not name.startswith(f"{role}_")] == []
    inner = load(PROJECT / "roles" / role / "vars/main.yml") or {}
    assert [name for name in inner if not name.startswith(f"__{role}_")] == []


@pytest.mark.parametrize("role", ROLES)
def test_secrets_of_a_role_are_named_as_such(role: str) -> None:
    """`no_log` keeps the argument check from showing them."""
    named = re.compile(r"(secret|token|password)s?$")
    open_ones = [name for name, option in options(role).items() if named.search(name) and not option.get("no_log")]
    assert open_ones == []


def tasks(role: str) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []

    def walk(name: str, entries: Any) -> None:
        for entry in entries or []:
            found.append((name, entry))
            for key in ("block", "rescue", "always"):
                walk(name, entry.get(key))

    for path in sorted((PROJECT / "roles" / role).glob("tasks/*.yml")):
        walk(str(path.relative_to(PROJECT)), load(path))
    return found


@pytest.mark.parametrize("role", ROLES)
def test_no_fault_is_swallowed(role: str) -> None:
    bad = [
        f"{name}: {task.get('name')}"
        for name, task in tasks(role)
        if task.get("ignore_errors") or task.get("failed_when") is False
    ]
    assert bad == []


@pytest.mark.parametrize("role", ROLES)
def test_services_are_restarted_by_handlers_only(role: str) -> None:
    modules = ("ansible.builtin.systemd_service", "ansible.builtin.systemd", "ansible.builtin.service")
    handlers = load(PROJECT / "roles" / role / "handlers/main.yml") or []
    theirs = [f"roles/{role}/tasks/{handler.get('ansible.builtin.include_tasks')}" for handler in handlers]
    bad = [
        f"{name}: {task.get('name')}"
        for name, task in tasks(role)
        for module in modules
        if name not in theirs and (task.get(module) or {}).get("state") in ("restarted", "reloaded")
    ]
    assert bad == []


def test_the_site_only_imports() -> None:
    for entry in load(PROJECT / "site.yml"):
        assert set(entry) == {"name", "import_playbook"}
        assert (PROJECT / entry["import_playbook"]).is_file()


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.stem)
def test_a_playbook_only_runs_roles(playbook: Path) -> None:
    """What runs on a machine is in a role, where it is documented, checked and tested."""
    allowed = {"name", "hosts", "become", "gather_facts", "roles", "serial", "vars", "any_errors_fatal", "tags"}
    for play in load(playbook):
        assert set(play) <= allowed, f"{playbook.name}: {set(play) - allowed}"
        for role in play["roles"]:
            assert (role if isinstance(role, str) else role["role"]) in ROLES


def test_every_role_is_run_by_a_playbook_or_another_role() -> None:
    used = {
        role if isinstance(role, str) else role["role"]
        for path in PLAYBOOKS
        for play in load(path)
        for role in play["roles"]
    }
    for role in ROLES:
        for _, task in tasks(role):
            for module in ("ansible.builtin.import_role", "ansible.builtin.include_role"):
                used.add((task.get(module) or {}).get("name"))
        for needed in (load(PROJECT / "roles" / role / "meta/main.yml") or {}).get("dependencies") or []:
            used.add(needed if isinstance(needed, str) else needed["role"])
    assert sorted(set(ROLES) - used - {"ceph_modules"}) == []


def test_files_are_short_enough_to_be_read() -> None:
    lengths = {name: text.count("\n") for name, text in texts().items() if not MACHINE_MADE.search(name)}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE} == {}


def registries() -> set[str]:
    """Hosts that this machine's package programs ask: found in their own settings, so that none is written here."""
    found = set()
    sources = [*Path("/etc/apt").glob("sources.list*"), *Path("/etc/apt").glob("sources.list.d/*")]
    sources += [Path("/etc/pip.conf"), Path.home() / ".config/pip/pip.conf", Path.home() / ".npmrc"]
    for path in sources:
        if path.is_file():
            found.update(re.findall(r"\w+://(?:[^\s/@]*@)?([A-Za-z0-9.-]+\.[A-Za-z]{2,})", path.read_text()))
    from pip._internal.models.index import PyPI

    found.update({PyPI.netloc, PyPI.file_storage_domain})
    return found - {"example.org", "example.com"}


def test_no_registry_is_named_anywhere() -> None:
    """Where packages come from is the site's own affair: its package programs know, and its inventory says."""
    names = registries()
    assert names, "this machine's package programs name no registry: the test would see nothing"
    assert [(name, host) for name, text in texts().items() for host in sorted(names) if host in text] == []


def test_no_path_of_a_developers_machine_is_in_the_tree() -> None:
    own = {str(PROJECT), str(PROJECT.parent), str(Path.home() / ".")}
    own = {path for path in own if len(Path(path).parts) > 2 or path not in ("/", "/root")}
    own -= {"/", "/root", "/home", "/tmp"}
    assert [(name, path) for name, text in texts().items() for path in sorted(own) if f"{path}/" in text] == []


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_a_room_imports_only_from_rooms_below_it(room: str) -> None:
    seen = set()
    for path in (PROJECT / "appliance" / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            parts = [module.split(".") for module in modules]
            seen.update(part[1] for part in parts if part[0] == "appliance" and len(part) > 1)
    rooms = {path.name for path in (PROJECT / "appliance").iterdir() if path.is_dir()}
    assert sorted((seen & rooms) - {room} - MAY_IMPORT[room]) == []


def test_no_test_is_skipped_excused_or_tried_again() -> None:
    marks = re.compile(r"pytest\.(mark\.)?(skip|skipif|xfail|flaky|importorskip)\b|MagicMock|unittest\.mock")
    own = "tests/unit/test_tree.py"
    found = {name: marks.findall(text) for name, text in texts().items() if name.endswith(".py") and name != own}
    assert {name: hits for name, hits in found.items() if hits} == {}


def test_lock_files_hold_hashes_and_no_addresses() -> None:
    locks = {name: text for name, text in texts().items() if name.endswith(".lock")}
    assert locks
    for name, text in locks.items():
        pins = re.findall(r"(?m)^[A-Za-z0-9._-]+==", text)
        assert pins, name
        assert "://" not in text, name
        assert text.count("--hash=sha256:") >= len(pins), name
