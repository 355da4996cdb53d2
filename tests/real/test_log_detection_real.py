"""Log rules on a real Elasticsearch and a real OpenSearch node: the same story, the same alerts."""

from pathlib import Path
from typing import Any

import pytest

from it_incident_response.domain.evidence import LogLine
from it_incident_response.integrations.elasticsearch_client import (
    ElasticsearchLogAnalyzer,
    ElasticsearchSettings,
)
from tests.log_trouble import assert_the_story_is_told, trouble_lines, usual_lines
from tests.real.stack.search_servers import SearchServer

MAPPING = {
    "properties": {
        "@timestamp": {"type": "date"},
        "message": {"type": "text"},
        "log": {"properties": {"level": {"type": "keyword"}}},
        "service": {"properties": {"name": {"type": "keyword"}}},
        "host": {"properties": {"name": {"type": "keyword"}}},
    }
}


def document(line: LogLine) -> dict[str, Any]:
    return {
        "@timestamp": line.at.isoformat(),
        "message": line.message,
        "log": {"level": line.level.value.upper()},
        "service": {"name": line.service},
        "host": {"name": line.host},
    }


def analyzer(node: SearchServer, pattern: str) -> ElasticsearchLogAnalyzer:
    given = {"url": node.url, "index_pattern": pattern, "timeout_s": 20.0}
    return ElasticsearchLogAnalyzer(settings=ElasticsearchSettings.model_validate(given))


@pytest.mark.parametrize("distribution", ["elasticsearch", "opensearch"])
async def test_the_rules_of_each_kind_tell_the_story(
    distribution: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    node: SearchServer = request.getfixturevalue(f"{distribution}_server")
    try:
        node.index("detect-usual", map(document, usual_lines()), mapping=MAPPING)
        node.index("detect-trouble", map(document, trouble_lines()), mapping=MAPPING)
        async with analyzer(node, "detect-usual") as quiet, analyzer(node, "detect-*") as troubled:
            await assert_the_story_is_told(tmp_path, quiet, troubled)
    finally:
        node.drop("detect-usual", "detect-trouble")
