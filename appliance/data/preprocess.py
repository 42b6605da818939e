"""Variables that are left out of a dataset, or get another name, before files are joined."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import xarray as xr

from appliance.data import DataError

# Attributes that name other variables (CF Conventions 1.11, appendix A).
NAMING = (
    "coordinates", "bounds", "climatology", "grid_mapping", "ancillary_variables", "cell_measures", "formula_terms",
    "cell_methods", "compress", "node_coordinates", "interior_ring", "geometry", "node_count", "part_node_count",
)  # fmt: skip


@dataclass(frozen=True)
class Preprocess:
    """What happens to the variables of each file.

    Attributes:
        drop: variables that are left out.
        rename: new names of variables and dimensions by the old ones.
    """

    drop: Sequence[str] = ()
    rename: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parsed(cls, options: Sequence[str]) -> Preprocess:
        """Of ``drop=NAME,NAME`` and ``rename=OLD:NEW,OLD:NEW``. Raises ``DataError`` for anything else."""
        drop: list[str] = []
        rename: dict[str, str] = {}
        for option in options:
            verb, _, rest = option.partition("=")
            names = [name.strip() for name in rest.split(",") if name.strip()]
            if verb == "drop" and names:
                drop += names
            elif verb == "rename" and names and all(re.fullmatch(r"[^:]+:[^:]+", name) for name in names):
                rename.update(tuple(name.split(":")) for name in names)  # type: ignore[misc]
            else:
                raise DataError(f"--preprocess {option!r}: write drop=NAME,NAME or rename=OLD:NEW,OLD:NEW")
        return cls(drop, rename)

    def renamed(self, name: str) -> str:
        """The new name of a variable or dimension."""
        return self.rename.get(name, name)

    def unknown(self, variables: Mapping[str, xr.Variable]) -> frozenset[str]:
        """What a file has no variable of that is dropped, and no variable or dimension of that is renamed."""
        dims = {str(dim) for variable in variables.values() for dim in variable.dims}
        return frozenset({*self.drop} - {*variables} | {*self.rename} - {*variables} - dims)

    def applied(
        self, url: str, variables: Mapping[str, xr.Variable], attributes: Mapping[str, Any]
    ) -> tuple[dict[str, xr.Variable], dict[str, Any]]:
        """Undecoded variables, and attributes of the dataset, with names in attributes renamed too.

        Raises ``DataError`` where two variables or two dimensions would have one name.
        """
        dims: dict[str, str] = {}
        for dim in (str(dim) for variable in variables.values() for dim in variable.dims):
            if dims.setdefault(self.renamed(dim), dim) != dim:
                raise DataError(f"{url}: two dimensions would be called {self.renamed(dim)!r}: choose another name")
        made: dict[str, xr.Variable] = {}
        for name, variable in variables.items():
            if name in self.drop:
                continue
            if self.renamed(name) in made:
                raise DataError(f"{url}: two variables would be called {self.renamed(name)!r}: choose another name")
            changed = variable.copy(deep=False)
            changed.attrs = self._attributes(variable.attrs)
            changed.dims = tuple(self.renamed(str(dim)) for dim in variable.dims)
            made[self.renamed(name)] = changed
        return made, self._attributes(attributes)

    def _attributes(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        def said(text: str) -> str:
            return re.sub(r"[^\s:()]+", lambda word: self.renamed(word[0]), text)

        return {
            key: said(value) if key in NAMING and isinstance(value, str) and self.rename else value
            for key, value in attributes.items()
        }
