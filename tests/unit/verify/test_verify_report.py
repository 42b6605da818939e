"""The report of a facility's check: what people read, and what passes between its two programs."""

from __future__ import annotations

from appliance.verify.report import Check, Report


def test_a_check_that_raises_fails_and_the_next_is_made_all_the_same() -> None:
    report = Report()
    with report.check("S3"):
        raise RuntimeError("other\nbytes")
    with report.check("hub") as hub:
        hub.detail = "version 6"
    assert [(check.name, check.ok, check.detail) for check in report.checks] == [
        ("S3", False, "RuntimeError: other bytes"),
        ("hub", True, "version 6"),
    ]
    assert not report.ok


def test_nothing_checked_is_not_well() -> None:
    assert not Report().ok
    assert Report([Check("hub", ok=True)]).ok


def test_the_table_lines_up_and_says_below_why_a_check_failed() -> None:
    report = Report(
        [Check("hub", ok=True, seconds=0.123), Check("a longer name", ok=False, detail="refused", seconds=61)]
    )
    assert report.as_table().splitlines() == [
        "check          result  seconds",
        "-------------  ------  -------",
        "hub            ok          0.1",
        "a longer name  FAILED     61.0",
        "a longer name: refused",
    ]


def test_lines_come_back_as_they_went_without_the_chatter_around_them() -> None:
    report = Report([Check("hub", ok=True, detail="version 6", seconds=0.5), Check("S3", detail="refused")])
    assert Report.from_lines("a warning\n" + report.as_lines() + "\n").checks == report.checks
