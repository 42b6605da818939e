"""The benchmark's own modules, which stand beside its programs and not in the package."""

import sys
from pathlib import Path

TESTS = Path(__file__).parents[2]
# Last on the path: nothing of theirs stands in for a module of the same name elsewhere.
sys.path += [str(TESTS / "bench"), str(TESTS / "rack")]
