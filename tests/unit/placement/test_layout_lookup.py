"""Requests for layouts."""

import pytest

from appliance.placement.http_api import MAX_OBJECTS
from appliance.placement.service.layout_lookup import parse_request


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ([], "a request is an object"),
        ({"bucket": 5, "objects": []}, "a request is an object"),
        ({"bucket": "a"}, "objects is no list"),
        ({"bucket": "a", "objects": [["k", "", "e"]] * (MAX_OBJECTS + 1)}, "at most 1000"),
        ({"bucket": "a", "objects": [["k", ""]]}, "objects\\[0\\] is not"),
        ({"bucket": "a", "objects": [["k", "", None]]}, "objects\\[0\\] holds"),
        ({"bucket": "a", "objects": [["k" * 5000, "", ""]]}, "objects\\[0\\] holds"),
    ],
)
def test_a_request_that_is_none_is_refused(request_: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_request(request_)
