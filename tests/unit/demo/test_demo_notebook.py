"""The example notebook as it is handed out: clean, in plain xarray, and without a word about places."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

import appliance.demo

PATH = Path(appliance.demo.__file__).parent / "examples" / "sea-surface-temperature.ipynb"


@pytest.fixture(scope="module")
def notebook() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
    return loaded


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def code(notebook: dict[str, Any]) -> str:
    return "\n".join(source(cell) for cell in notebook["cells"] if cell["cell_type"] == "code")


def test_it_is_handed_out_without_outputs(notebook: dict[str, Any]) -> None:
    ran = [cell for cell in notebook["cells"] if cell.get("outputs") or cell.get("execution_count")]
    assert ran == []


def test_its_code_is_python(notebook: dict[str, Any]) -> None:
    ast.parse(code(notebook))


def test_nothing_in_it_says_where_anything_runs(notebook: dict[str, Any]) -> None:
    for word in ("workers=", "annotate", "storage_options", "endpoint", "store1", "head1", "10.77"):
        assert word not in code(notebook)


def test_data_is_opened_with_plain_xarray(notebook: dict[str, Any]) -> None:
    assert 'xr.open_zarr(f"{bucket}/made.zarr")' in code(notebook)
    assert 'bucket = f"s3://{getpass.getuser()}"' in code(notebook)


def test_words_between_the_cells_are_few(notebook: dict[str, Any]) -> None:
    words = [len(source(cell).split()) for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    assert len(words) >= 6
    assert max(words) < 80
