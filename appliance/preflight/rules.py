"""What a role says of the values that a variable may have beyond its type: ``meta/values.yml``, beside the specs.

Ansible's argument specs have types and choices, and no ranges; ansible-lint refuses keys of one's own in them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from appliance.preflight.forms import FORMS, amount, path_fault


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a value has to be.

    ``min``, ``max`` and ``above`` limit a number, or what a size amounts to. ``form`` names one of `FORMS`; ``pattern``
    is a regular expression for the whole text, with what to ``give`` where it does not match. ``at_most`` and
    ``less_than`` name another variable, ``one_of`` one whose list has the value. Where ``elements`` is true,
    all this is said of each element of a list; where ``empty`` is true, an empty text is right as well. ``because`` is
    told with a limit, ``otherwise`` with what another variable limits. ``where`` holds values of other variables: a
    secret is judged only where they have them all.
    """

    min: object = None
    max: object = None
    above: object = None
    form: str = ""
    pattern: str = ""
    give: str = ""
    at_most: str = ""
    less_than: str = ""
    one_of: str = ""
    elements: bool = False
    empty: bool = False
    because: str = ""
    otherwise: str = ""
    where: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, name: str, entry: Mapping[str, Any]) -> Rule:
        """Read an entry of ``meta/values.yml``; raises ValueError where a key or a form of it is unknown."""
        unknown = set(entry) - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise ValueError(f"{name}: {', '.join(sorted(unknown))} is no rule")
        rule = cls(**entry)
        if rule.form and rule.form not in FORMS:
            raise ValueError(f"{name}: {rule.form} is none of the forms {', '.join(FORMS)}")
        return rule

    def fault(self, value: object, kind: str = "str") -> str:
        """Return what to give instead of ``value``, of the specs' type ``kind``; nothing where it is right."""
        text = str(value)
        if self.empty and not text:
            return ""
        if self.pattern and not re.fullmatch(self.pattern, text):
            return f"give {self.give}"
        if self.form and (isinstance(value, bool) or not FORMS[self.form].fits(text)):
            return FORMS[self.form].give
        if self.form == "directory" and (reason := path_fault(text)):
            return reason
        return self._limit(text, kind) if self._limited else ""

    @property
    def _limited(self) -> bool:
        return not self.min == self.max == self.above == None  # noqa: E711  (0 is a limit)

    def _limit(self, text: str, kind: str) -> str:
        """Return what to give instead of a number beyond the limits. Percents have none of their own but 0."""
        try:
            number, what = amount(text)
        except ValueError:
            return self._words(kind)
        if what == "percent":
            return "" if number > 0 else FORMS[self.form].give
        low = self.min is not None and number < amount(str(self.min))[0]
        high = self.max is not None and number > amount(str(self.max))[0]
        beyond = self.above is not None and number <= amount(str(self.above))[0]
        return self._words(kind) if low or high or beyond else ""

    def _words(self, kind: str) -> str:
        what = "a size" if self.form else "a whole number" if kind == "int" else "a number"
        if self.min is not None and self.max is not None:
            limits = f"from {self.min} to {self.max}"
        elif self.max is not None:
            limits = f"above {self.above}, at most {self.max}" if self.above is not None else f"of at most {self.max}"
        else:
            limits = f"of at least {self.min}" if self.min is not None else f"above {self.above}"
        return f"give {what} {limits}" + (f": {self.because}" if self.because else "")
