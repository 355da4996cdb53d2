"""`approval`: what may be written about waiting for a human."""

import pytest

from it_incident_response.config.settings import Settings


def approval(**given):
    return Settings.model_validate({"approval": given}).approval


def test_reminders_and_escalations_as_people_write_them():
    given = approval(
        timeout="2h",
        reminders=["15m", "1h30m"],
        escalate=[{"after": "30m", "to": "sre-lead"}, {"after": "1h", "to": "on-call"}],
    )
    assert given.reminders == (900, 5400)
    assert [(step.after_s, step.to) for step in given.escalate] == [
        (1800, "sre-lead"),
        (3600, "on-call"),
    ]


def test_the_default_reminders_give_way_to_a_short_timeout():
    assert approval().reminders_in_time == (900, 2700)
    assert approval(timeout="20m").reminders_in_time == (900,)
    assert approval(timeout="1m").reminders_in_time == ()
    assert approval(reminders=[]).reminders_in_time == ()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"reminders": ["45m", "15m"]}, "reminders must be in ascending order"),
        ({"reminders": ["15m", "15m"]}, "reminders must be in ascending order"),
        ({"reminders": ["1h"]}, "reminders must lie between 0 and timeout"),
        ({"reminders": ["0s"]}, "reminders must lie between 0 and timeout"),
        ({"timeout": "10m", "reminders": ["15m"]}, "reminders must lie between"),
        ({"reminders": ["soon"]}, "not a duration"),
        ({"reminders": list(range(1, 22))}, "at most 20"),
        ({"escalate": [{"after": "2h", "to": "x"}]}, "escalate must lie between"),
        (
            {"escalate": [{"after": "9m", "to": "x"}, {"after": "5m", "to": "y"}]},
            "escalate must be in ascending order",
        ),
        ({"escalate": [{"after": "5m", "to": ""}]}, "at least 1 character"),
        ({"escalate": [{"after": "5m", "to": "a\x1b[2J"}]}, "pattern"),
        ({"escalate": [{"after": "5m", "to": "x" * 201}]}, "at most 200"),
        ({"escalate": [{"to": "x"}]}, "required"),
        ({"escalate": [{"after": "5m", "to": "x", "cc": "y"}]}, "not permitted"),
    ],
)
def test_what_makes_no_sense_is_refused(given, said):
    with pytest.raises(ValueError, match=said):
        approval(**given)
