"""Promises that the whole tree keeps, asked of every file and every role."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from import_graph import find_circle, forbidden_imports, import_graph, imports, room_of

from appliance.roles.readme import faults

PROJECT = Path(__file__).parents[2]
ROLES = sorted(path.name for path in (PROJECT / "roles").iterdir() if (path / "tasks").is_dir())
PLAYBOOKS = sorted((PROJECT / "playbooks").glob("*.yml"))
LONGEST_FILE = 400
# Lock files and recorded answers are written by programs and read by programs.
MACHINE_MADE = re.compile(r"(\.lock|\.json|\.ipynb|/answers/.*|^LICENSE)$")
# What placement's client and its service may use. They do not know each other.
SHARED = {f"placement.{part}" for part in ("errors", "http_api", "http_endpoint", "model", "auth")}
# What others may use of placement: its service and command line are nobody's business but their own.
PLACEMENT = {"placement", *(f"placement.{part}" for part in ("errors", "colours", "model", "auth", "client"))}
# For each room the rooms that it may import from. A module is of the most exact room that its name begins with: so
# `placement` is what it exports, and `compute` its preloads and what it exports.
MAY_IMPORT: dict[str, set[str]] = {
    "placement.errors": set(),
    "placement.colours": set(),
    "placement.http_api": set(),
    "placement.http_endpoint": {"placement.errors"},
    "placement.model": {"placement.errors"},
    "placement.auth": {"placement.errors"},
    "placement.client": SHARED | {"placement.colours"},
    "placement.service": SHARED,
    "placement.service.rados_helpers": set(),  # programs for another Python
    "placement.cli": SHARED | {"placement.client", "placement.service"},
    "placement": {"placement.errors", "placement.model", "placement.client"},
    "compute.distributed_parts": set(),
    "compute.scheduling": PLACEMENT,
    "compute.reading": PLACEMENT,
    "compute.reporting": PLACEMENT | {"compute.distributed_parts", "compute.scheduling", "compute.reading"},
    "compute.forecasting": PLACEMENT
    | {f"compute.{part}" for part in ("distributed_parts", "scheduling", "reading", "reporting")},
    "compute": PLACEMENT
    | {f"compute.{part}" for part in ("distributed_parts", "scheduling", "reading", "reporting", "forecasting")},
    "checked_json": set(),
    "hub_front": set(),
    "http_sources": set(),
    "on_import": set(),
    "s3_keys": set(),
    "researcher": set(),
    "launching": {"researcher", "checked_json"},
    "hub": {"researcher", "checked_json"},
    "notebook": {"researcher", "data"},
    "data": PLACEMENT | {"compute", "compute.reading", "compute.scheduling", "http_sources"},
    "simulate": PLACEMENT | {"compute.scheduling"},
    "rack": {"inventory_secrets"},
    "depot": set(),
    "preflight": {"checked_json", "http_sources"},
    "quota": PLACEMENT,
    "release": set(),
    "roles": set(),
    "verify": {"researcher", "checked_json", "hub_front"},
    "inventory_secrets": set(),
    "demo": {"rack", "inventory_secrets", "hub_front"},
    "cli": {"__init__"},
    "__init__": set(),
}
# Circles that are opened by an import in a function: who imports whom so, and why it cannot be otherwise.
OPENED: dict[tuple[str, str], str] = {}


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


def test_roles_defaults_specs_and_readmes_agree() -> None:
    assert list(faults(PROJECT / "roles")) == []


def test_a_fact_of_the_site_bears_the_name_of_a_role() -> None:
    """Operators set it under the name that the role whose it is gave it."""
    names = tuple(f"{path.name}_" for path in (PROJECT / "roles").iterdir())
    assert [name for name in defaults("site_facts") if not name.startswith(names)] == []


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


@pytest.mark.parametrize("role", ROLES)
def test_files_are_written_in_one_way(role: str) -> None:
    """`place_files`: many files in one step, all of them checked before the first is put in place."""
    others = {f"ansible.builtin.{name}" for name in ("template", "copy", "lineinfile", "blockinfile", "replace")}
    assert [f"{name}: {task.get('name')}" for name, task in tasks(role) if others & set(task)] == []


@pytest.mark.parametrize("role", ROLES)
def test_no_package_is_removed_for_another(role: str) -> None:
    """apt resolves a conflict by a removal: Nix, installed after a newer suite's Ceph, took that away."""
    calls = [(name, task["ansible.builtin.apt"]) for name, task in tasks(role) if "ansible.builtin.apt" in task]
    assert [name for name, call in calls if call.get("fail_on_autoremove") is not True] == []


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


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.stem)
def test_an_operators_account_needs_sudo_and_not_root(playbook: Path) -> None:
    assert [play["name"] for play in load(playbook) if play.get("become") is not True] == []


@pytest.mark.parametrize("role", ROLES)
def test_no_task_on_the_control_host_asks_for_sudo(role: str) -> None:
    local = [task for _, task in tasks(role) if task.get("delegate_to") == "localhost"]
    assert [task["name"] for task in local if task.get("become") is not False] == []


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
    assert sorted(set(ROLES) - used) == []


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


def test_a_room_imports_only_from_rooms_below_it() -> None:
    """In functions too, and inside rooms as between them."""
    rooms = {module: room_of(module, MAY_IMPORT) for module in imports()}
    assert [module for module, room in rooms.items() if not room] == [], "in no room of the table"
    assert sorted(set(MAY_IMPORT) - set(rooms.values())) == [], "rooms without modules"
    assert forbidden_imports(imports(), MAY_IMPORT) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {module: {other for other in found if (module, other) not in OPENED} for module, found in imports().items()}
    assert " -> ".join(find_circle(graph)) == ""
    needless = [pair for pair in OPENED if not find_circle({**graph, pair[0]: graph[pair[0]] | {pair[1]}})]
    assert needless == [], "listed as opened circles, and none"


@pytest.mark.parametrize("imported", ["import tool.low.part", "def late():\n    from tool.low import part"])
def test_a_forbidden_import_and_a_circle_are_found_by_name(tmp_path: Path, imported: str) -> None:
    """The two tests above see one in a function too."""
    tool = tmp_path / "tool"
    for name, text in {
        "__init__": "",
        "low/__init__": "from tool.low.part import value",
        "low/part": "from tool.high import first",
        "high/__init__": "",
        "high/first": imported,
        "high/second": "import tool.high.first\nfrom tool import high",
    }.items():
        (tool / name).parent.mkdir(parents=True, exist_ok=True)
        (tool / f"{name}.py").write_text(text)
    graph = import_graph(tool)
    assert " -> ".join(find_circle(graph)) == "high.first -> low.part -> high.first"
    rooms: dict[str, set[str]] = {"__init__": set(), "low": set(), "low.part": {"high"}, "high": {"low"}}
    assert forbidden_imports(graph, rooms) == ["high.first -> low.part", "low -> low.part"]


def test_what_a_test_sends_to_a_machine_needs_nothing_that_is_not_there() -> None:
    imported = {
        getattr(node, "module", None) or alias.name
        for node in ast.walk(ast.parse(texts()["tests/rack/hub_session.py"]))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert {name for name in imported if name.split(".")[0] not in sys.stdlib_module_names} == {"appliance.hub_front"}


def test_no_test_is_skipped_excused_or_tried_again() -> None:
    marks = re.compile(r"pytest\.(mark\.)?(skip|skipif|xfail|flaky|importorskip)\b|MagicMock|unittest\.mock")
    own = "tests/unit/test_tree.py"
    found = {name: marks.findall(text) for name, text in texts().items() if name.endswith(".py") and name != own}
    assert {name: hits for name, hits in found.items() if hits} == {}


def test_files_of_one_run_on_a_rack_have_names_of_their_own() -> None:
    """pytest imports them by their name alone: of two that share one, it ends before it runs any."""
    names = [file.name for room in ("attacks", "browser", "rack") for file in (PROJECT / "tests" / room).glob("*.py")]
    assert sorted(name for name in set(names) - {"conftest.py"} if names.count(name) > 1) == []


def test_unit_tests_wait_in_one_way_and_look_at_no_clock() -> None:
    """A sleep is too short on a busy machine, and a threshold of seconds fails there: see waiting.py."""
    may = {"waiting.py", "leavings.py", "stand_in.py"}  # the last one's sleep is the work that a task of its does
    words = re.compile(r"^\s*(await )?(time|asyncio)\.sleep\(|time\.(monotonic|perf_counter)\(", re.MULTILINE)
    found = [path.name for path in (PROJECT / "tests/unit").rglob("*.py") if words.search(path.read_text())]
    assert set(found) <= may


def test_lock_files_hold_hashes_and_no_addresses() -> None:
    locks = {name: text for name, text in texts().items() if name.endswith(".lock")}
    assert locks
    for name, text in locks.items():
        pins = re.findall(r"(?m)^[A-Za-z0-9._-]+==", text)
        assert pins, name
        assert "://" not in text, name
        assert text.count("--hash=sha256:") >= len(pins), name
