"""What RGW calls objects."""

import pytest

from appliance.placement.names import locator, rados_name


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("plain", "m.1_plain"),
        ("with space/and ü", "m.1_with space/and ü"),
        ("_one", "m.1___one"),
        ("__two", "m.1____two"),
        ("in_the_middle_", "m.1_in_the_middle_"),
        ("_", "m.1___"),
    ],
)
def test_an_underscore_in_front_is_doubled(key: str, name: str) -> None:
    assert rados_name("m.1", key) == name


def test_the_locator_never_doubles() -> None:
    assert locator("m.1", "_one") == "m.1__one"
    assert locator("m.1", "plain") == rados_name("m.1", "plain")
