"""Reads rules from YAML; what is wrong names file and line, and the other rules still load."""

from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from it_incident_response.analysis.case import build_case
from it_incident_response.analysis.evidence_words import NOW, evidence_from
from it_incident_response.analysis.rule_model import Rule
from it_incident_response.analysis.rule_verdict import weigh
from it_incident_response.domain.topology import Topology
from it_incident_response.errors import RuleError

FILE_BYTES_MAX = 1_048_576
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class LoadedRules(NamedTuple):
    """The rules that can be used, and what was wrong with the others."""

    rules: tuple[Rule, ...]
    problems: tuple[RuleError, ...]


class ExampleResult(NamedTuple):
    """Whether an example of a rule came out as written."""

    number: int
    expected: bool
    got: bool

    @property
    def passes(self) -> bool:
        """True if the rule matched exactly when the example says so."""
        return self.expected is self.got


def shipped_paths() -> tuple[Path, ...]:
    """Return the rule files of this package."""
    folder = Path(str(files("it_incident_response.analysis") / "rules"))
    return tuple(sorted(folder.glob("*.yaml")))


def rule_paths(folder: Path) -> tuple[Path, ...]:
    """Return the rule files of a folder, or the file itself; raises `RuleError` if missing."""
    if folder.is_file():
        return (folder,)
    if not folder.is_dir():
        raise RuleError(
            f"{folder}: there is no such file or folder", hint="see diagnosis.rules_dirs"
        )
    return tuple(sorted({*folder.glob("*.yaml"), *folder.glob("*.yml")}))


def load_rules(paths: Sequence[Path]) -> LoadedRules:
    """Read rule files; a rule that cannot be used becomes a problem, and so does a repeated id."""
    rules: dict[str, Rule] = {}
    problems: list[RuleError] = []
    for path in paths:
        for outcome in _read(path):
            if isinstance(outcome, RuleError):
                problems.append(outcome)
            elif outcome.rule.id in rules:
                problems.append(
                    RuleError(
                        f"{outcome.where}: the rule {outcome.rule.id!r} exists already",
                        hint="give it another id",
                    )
                )
            else:
                rules[outcome.rule.id] = outcome.rule
    return LoadedRules(tuple(rules.values()), tuple(problems))


class _Placed(NamedTuple):
    where: str
    rule: Rule


def _read(path: Path) -> Iterator[_Placed | RuleError]:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise RuleError(f"{path}: larger than 1 MiB", hint="split it")
        root = yaml.compose(path.read_text("utf-8"), Loader=_Loader)
    except RuleError as error:
        yield error
    except (OSError, UnicodeDecodeError) as error:
        yield RuleError(f"{path}: cannot be read: {error}")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        yield RuleError(f"{path}{line}: not valid YAML: {error.problem}")
    except (yaml.YAMLError, RecursionError) as error:
        yield RuleError(f"{path}: not valid YAML: {error}")
    else:
        yield from _rules_in(path, root)


def _rules_in(path: Path, root: yaml.Node | None) -> Iterator[_Placed | RuleError]:
    if root is None:
        return
    if not isinstance(root, yaml.SequenceNode):
        yield RuleError(f"{path}:1: a rule file is a list of rules", hint="begin with `- id: ...`")
        return
    for node in root.value:
        yield _rule(path, node)


def _rule(path: Path, node: yaml.Node) -> _Placed | RuleError:
    where = f"{path}:{node.start_mark.line + 1}"
    try:
        rule = Rule.model_validate(_construct(node))
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        # A field that is not known explains why another one is missing.
        first = min(errors, key=lambda each: each["type"] != "extra_forbidden")
        line, field = _locate(node, first["loc"])
        return RuleError(f"{path}:{line}: {field}: {first['msg']}")
    except (yaml.YAMLError, ValueError, TypeError) as error:
        return RuleError(f"{where}: {error}")
    try:
        failed = [result for result in run_examples(rule) if not result.passes]
    except ValueError as error:
        return RuleError(f"{where}: {rule.id}: {error}")
    if failed:
        verb = "should match and does not" if failed[0].expected else "matches and should not"
        return RuleError(
            f"{where}: {rule.id}: example {failed[0].number} {verb}",
            hint="correct the conditions or the example",
        )
    return _Placed(where, rule)


def _construct(node: yaml.Node) -> Any:
    loader = _Loader("")
    try:
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _locate(node: yaml.Node, location: tuple[int | str, ...]) -> tuple[int, str]:
    """Return the line of the deepest node on the way to `location`, and the way in words."""
    for step in location:
        child = _child(node, step)
        if child is None:
            break
        node = child
    return node.start_mark.line + 1, ".".join(str(step) for step in location) or "rule"


def _child(node: yaml.Node, step: int | str) -> yaml.Node | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        found: yaml.Node = node.value[step]
        return found
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == step), None)
    return None


def run_examples(rule: Rule) -> tuple[ExampleResult, ...]:
    """Judge a rule's examples; raises `ValueError` for one that cannot be read."""
    results = []
    for number, example in enumerate(rule.examples, 1):
        evidence = evidence_from(example.evidence)
        verdict = weigh(rule, build_case(evidence, Topology(calls=_CALLS), NOW))
        got = verdict is not None and verdict.is_match
        results.append(ExampleResult(number, example.matches, got))
    return tuple(results)


_CALLS = {"caller": frozenset({"affected"}), "affected": frozenset({"dependency"})}
"""The dependencies that examples may use: `caller` calls `affected`, which calls `dependency`."""
