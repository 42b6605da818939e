"""Roles whose README, specs and defaults differ are named, each with what is to be mended."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.roles.readme import faults, made, readme
from appliance.roles.specs import RoleSpecs

META = """
galaxy_info:
  description: A cache of answers
dependencies:
  - role: site_facts
"""
SPECS = """
argument_specs:
  main:
    short_description: A cache of answers
    description:
      - Needs C(memory).
    options:
      cache_bytes: {type: int, default: 1000, description: Its size.}
      cache_peers: {type: list, elements: str, default: [a, b], description: Who shares it.}
      cache_key: {type: str, default: !unsafe "{{ site_key }}", no_log: true, description: What opens it.}
      cache_limits:
        type: dict
        default: {memory: !unsafe "{{ cache_bytes | int * 2 }}", answers: "10", of_each_peer_that_asks: 3}
        description: Limits.
      cache_name: {type: str, required: true, description: Its name.}
      site_name: {type: str, required: true, description: The site's name.}
      cache_users:
        type: list
        elements: dict
        default: []
        description: Who may ask.
        options:
          name: {type: str, required: true, description: A name.}
  clear:
    short_description: Forget all answers
"""
DEFAULTS = """
cache_bytes: 1000
cache_peers: [a, b]
cache_key: "{{ site_key }}"
cache_limits:
  memory: "{{ cache_bytes | int * 2 }}"
  answers: "10"
  of_each_peer_that_asks: 3
cache_users: []
"""
README = """\
<!-- Made by `make readmes` from meta/ and defaults/: change those, and make it again. -->
# cache

A cache of answers.

Needs `memory`.

Depends on the role [site_facts](../site_facts/README.md).

## Variables
- **`cache_bytes`** (int, default `1000`): Its size.
- **`cache_peers`** (list of str, default `["a", "b"]`): Who shares it.
- **`cache_key`** (str, secret, default `{{ site_key }}`): What opens it.
- **`cache_limits`** (dict): Limits.

  ```yaml
  memory: '{{ cache_bytes | int * 2 }}'
  answers: '10'
  of_each_peer_that_asks: 3
  ```
- **`cache_name`** (str, required): Its name.
- **`site_name`** (str, required): The site's name.
- **`cache_users`** (list of dict, default `[]`): Who may ask.
  - `name` (str, required): A name.

## Further entry points
- `clear`: Forget all answers.
"""
FILES = {"meta/main.yml": META, "meta/argument_specs.yml": SPECS, "defaults/main.yml": DEFAULTS, "README.md": README}


@pytest.fixture
def role(tmp_path: Path) -> Path:
    """A role that keeps all rules."""
    folder = tmp_path / "roles/cache"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def swap(name: str, old: str, new: str) -> Callable[[Path], None]:
    def spoil(role: Path) -> None:
        text = (role / name).read_text()
        assert old in text
        (role / name).write_text(text.replace(old, new))

    return spoil


def test_the_readme_is_made_of_the_specs(role: Path) -> None:
    assert made(RoleSpecs.read(role)) == README


def test_a_role_that_keeps_the_rules_has_no_fault(role: Path) -> None:
    assert list(faults(role.parent)) == []


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (swap("defaults/main.yml", "1000", "2000"), "states the default 1000, and defaults/main.yml has 2000"),
        (swap("defaults/main.yml", "1000", '"1000"'), "cache_bytes states the default 1000, and"),
        (swap("defaults/main.yml", "[a, b]", "[b, a]"), "cache_peers states the default ['a', 'b'], and"),
        (swap("defaults/main.yml", 'answers: "10"', "answers: 10"), "cache_limits states the default"),
        (swap("defaults/main.yml", "{{ site_key }}", "{{ its_key }}"), "cache_key states the default '{{ site_key }}'"),
        (swap("defaults/main.yml", "cache_users: []\n", ""), "cache_users is neither required nor in defaults"),
        (swap("defaults/main.yml", "cache_users", "cache_more"), "cache_more is missing, and in defaults/main.yml"),
        (swap("defaults/main.yml", "cache_users", "cache_name: x\ncache_users"), "cache_name is required, and has a"),
        (swap("meta/argument_specs.yml", "default: 1000, ", ""), "cache_bytes states no default"),
        (swap("meta/argument_specs.yml", '!unsafe "{{ site_key }}"', '"{{ site_key }}"'), "cache_key states an"),
        (swap("meta/argument_specs.yml", '!unsafe "{{ cache_bytes', '"{{ cache_bytes'), "cache_limits states an"),
        (swap("meta/argument_specs.yml", "description: Its size.", ""), "cache_bytes has no description"),
        (swap("meta/main.yml", "of answers", "of questions"), "short_description is not the description"),
        (lambda role: (role / "meta/argument_specs.yml").unlink(), "argument_specs.yml: is not there"),
        (lambda role: (role / "README.md").unlink(), "README.md: is not there; `make readmes` makes it"),
        (swap("README.md", "Its size.", "The size."), "README.md: is not what the specs say"),
        (swap("meta/argument_specs.yml", "Its size.", "Bytes."), "README.md: is not what the specs say"),
    ],
)  # fmt: skip
def test_what_differs_is_named(role: Path, spoil: Callable[[Path], None], fault: str) -> None:
    spoil(role)
    found = list(faults(role.parent))
    assert [text for text in found if fault in text and text.startswith("roles/cache/")] != [], found
    checked = CliRunner().invoke(readme, ["--check", "--roles", str(role.parent)])
    assert checked.exit_code == 1
    assert fault in checked.output


def test_readmes_are_written_and_then_current(role: Path) -> None:
    (role / "README.md").unlink()
    assert CliRunner().invoke(readme, ["--roles", str(role.parent)]).exit_code == 0
    assert (role / "README.md").read_text() == README
    shutil.rmtree(role / "meta")
    assert CliRunner().invoke(readme, ["--roles", str(role.parent)]).exit_code == 1, "a role without specs"
