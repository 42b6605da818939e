"""``python -m appliance.roles.readme``: make each role's README.md from its specs, or check that it is current."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import jinja2
import yaml  # type: ignore[import-untyped]

from appliance.roles.specs import RoleSpecs

# What ansible-doc marks up in descriptions, as Markdown: C(code), B(bold), I(italic).
MARKUP = {"C": "`{}`", "B": "**{}**", "I": "*{}*"}
LONGEST_INLINE = 60


def made(specs: RoleSpecs) -> str:
    """Return the text of a role's README."""
    environment = jinja2.Environment(  # noqa: S701  (Markdown, of our own files)
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"markdown": markdown, "written": written}
    return environment.get_template("readme.md.j2").render(role=specs, longest=LONGEST_INLINE)


def markdown(description: str | list[str]) -> str:
    """Return a description of the specs as Markdown, its paragraphs as one text."""
    text = " ".join(description) if isinstance(description, list) else description
    return re.sub(r"\b([CBI])\(([^)]*)\)", lambda found: MARKUP[found[1]].format(found[2]), " ".join(text.split()))


def written(value: object, block: bool = False) -> str:
    """Return a default as it is written in an inventory: a text as it is, all else in one line or as a block."""
    if isinstance(value, str) and value:
        return value
    line = json.dumps(value, ensure_ascii=False)
    # Through JSON, since YAML would write the texts' own types.
    return str(yaml.safe_dump(json.loads(line), sort_keys=False, width=100)) if block else line


def faults(roles: Path) -> Iterator[str]:
    """Yield what differs in each role: its specs from its defaults, its README from its specs."""
    for role in sorted(path for path in roles.iterdir() if path.is_dir()):
        specs = RoleSpecs.read(role)
        found = list(specs.faults())
        yield from found
        readme = role / "README.md"
        if not readme.is_file():
            yield f"roles/{role.name}/README.md: is not there; `make readmes` makes it"
        elif not found and readme.read_text(encoding="utf-8") != made(specs):
            yield f"roles/{role.name}/README.md: is not what the specs say; `make readmes` makes it anew"


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; name what differs, and end with 1 where anything does.")
@click.option(
    "--roles",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("roles"),
    show_default=True,
    help="The directory of the roles.",
)
def readme(check: bool, roles: Path) -> None:
    """Make the README.md of each role from its meta/ and defaults/."""
    if not check:
        for role in sorted(path for path in roles.iterdir() if path.is_dir()):
            (role / "README.md").write_text(made(RoleSpecs.read(role)), encoding="utf-8")
    found = list(faults(roles))
    for fault in found:
        click.echo(fault, err=True)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    readme()
