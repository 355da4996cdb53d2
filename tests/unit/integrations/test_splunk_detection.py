"""Log rules on Splunk (the stand-in): the same story, the same alerts as on Elasticsearch."""

from it_incident_response.integrations.splunk_client import SplunkLogAnalyzer, SplunkSettings
from tests.log_trouble import assert_the_story_is_told, trouble_lines, usual_lines
from tests.splunk_stand_in import Splunk, serving


def event(line):
    return {
        "_time": line.at.timestamp(),
        "_raw": line.message,
        "service": line.service,
        "level": line.level.value.upper(),
        "host": line.host,
    }


def analyzer(url):
    return SplunkLogAnalyzer(settings=SplunkSettings(url=url, bearer_token="tok-123456"))


async def test_the_rules_of_each_kind_tell_the_story(tmp_path):
    usual, trouble = usual_lines(), trouble_lines()
    with (
        serving(Splunk(events=[event(line) for line in usual])) as quiet_url,
        serving(Splunk(events=[event(line) for line in usual + trouble])) as troubled_url,
    ):
        async with analyzer(quiet_url) as quiet, analyzer(troubled_url) as troubled:
            await assert_the_story_is_told(tmp_path, quiet, troubled)
