"""What RGW calls objects."""

import pytest

from appliance.placement.model.rados_names import locator, rados_name


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
    assert rados_name("m.1", key, "null") == name


def test_the_locator_never_doubles() -> None:
    assert locator("m.1", "_one") == "m.1__one"
    assert locator("m.1", "plain") == rados_name("m.1", "plain")


@pytest.mark.parametrize(
    ("key", "name", "place"),
    [
        # `radosgw-admin object manifest --object-version` of a real object of each kind.
        ("plain", "m.1__:u9Vo_plain", "m.1__:u9Vo_plain"),
        ("_v", "m.1__:u9Vo__v", "m.1__v"),
    ],
)
def test_a_version_stands_before_the_key_and_not_in_the_locator(key: str, name: str, place: str) -> None:
    assert rados_name("m.1", key, "u9Vo") == name
    assert locator("m.1", key, "u9Vo") == place


def test_parts_and_stripes_have_no_locator() -> None:
    assert rados_name("m.1", "_k.2~x.1", namespace="multipart") == "m.1__multipart__k.2~x.1"
    assert locator("m.1", "_k.2~x.1", namespace="multipart") == "m.1__multipart__k.2~x.1"
    assert locator("m.1", ".r_1", "u9Vo", "shadow") == "m.1__shadow:u9Vo_.r_1"
