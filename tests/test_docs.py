"""The documentation does not drift: its links lead somewhere, its commands exist."""

import re
import shlex
from pathlib import Path

import click
import pytest

from it_incident_response.cli import cli

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bench/*.md")])
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
HEADINGS = ["Context", "Decision", "Consequence"]

_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_REFERENCE = re.compile(r"^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+)`")
_COMMAND = re.compile(
    r"(?:^|[;&|(]\s*|\$ |uv run (?:--\S+ )*|\.venv/bin/)iir(?=\s|$)([^;&|)#`\n]*)", re.MULTILINE
)
_PLACEHOLDER = re.compile(r"[<\[{…]|\.\.\.|^[A-Z][A-Z_0-9-]*$")


def _id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, made as GitHub makes them."""
    titles = re.findall(r"(?m)^#{1,6}\s+(.+?)\s*#*$", _FENCE.sub("", page.read_text()))
    plain = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.replace(" ", "-") for title in plain}


def _links(page: Path) -> list[str]:
    text = _FENCE.sub("", page.read_text())
    return [link for link in _LINK.findall(text) + _REFERENCE.findall(text) if "://" not in link]


def _commands(page: Path) -> list[str]:
    """Return the `iir ...` command lines of a page, from its fences and its inline code."""
    text = page.read_text()
    fences = [match[0].replace("\\\n", " ") for match in _FENCE.finditer(text)]
    inline = _INLINE.findall(_FENCE.sub("", text))
    return [found.strip() for code in [*fences, *inline] for found in _COMMAND.findall(code)]


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()


def _problem(command: str) -> str | None:
    """Return what is wrong with a quoted command, by the command tree itself."""
    group: click.Command = cli
    context = click.Context(cli, info_name="iir")
    options = {name for parameter in cli.params for name in parameter.opts}
    for word in _words(command):
        if word.startswith("-"):
            name = word.split("=", 1)[0]
            if name not in options | {"-h", "--help"}:
                return f"`iir {command}`: {group.name} has no option {name}"
        elif isinstance(group, click.Group):
            found = group.get_command(context, word)
            if found is None:
                if _PLACEHOLDER.search(word) or _takes_value(group, command, word):
                    continue
                return f"`iir {command}`: there is no command {word!r} in {group.name}"
            group = found
            for parameter in group.params:
                options |= {*parameter.opts, *parameter.secondary_opts}
    return None


def _takes_value(group: click.Command, command: str, word: str) -> bool:
    """Tell whether the word is the value of the option before it."""
    words = _words(command)
    before = words[words.index(word) - 1] if words.index(word) else ""
    return any(
        before in parameter.opts and not getattr(parameter, "is_flag", False)
        for parameter in group.params
    )


def test_there_are_pages_and_decisions() -> None:
    assert ROOT / "README.md" in PAGES
    assert DECISIONS


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in _links(page):
        file, _, anchor = link.partition("#")
        target = (page.parent / file) if file else page
        is_broken_anchor = anchor and target.suffix == ".md" and anchor not in _anchors(target)
        if not target.exists() or is_broken_anchor:
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_quoted_commands_exist(page: Path) -> None:
    problems = {_problem(command) for command in _commands(page)}
    assert problems - {None} == set()


def test_the_command_check_sees_what_is_wrong() -> None:
    assert _problem("no-such-command") is not None
    assert _problem("--no-such-option") is not None
    assert _problem("--profile observe --help") is None


@pytest.mark.parametrize("page", DECISIONS, ids=_id)
def test_decisions_have_their_three_parts(page: Path) -> None:
    text = page.read_text()
    assert re.findall(r"(?m)^## (.+)$", text) == HEADINGS
    assert re.match(r"# \d{4}: .+\n", text), "the title is `# NNNN: what was decided`"
    assert page.name.startswith(text[2:6])
    assert len(text.splitlines()) <= 60, "a decision fits one page"


def test_no_two_decisions_share_a_number() -> None:
    numbers = [page.name[:4] for page in DECISIONS]
    assert len(set(numbers)) == len(numbers)


def test_every_page_of_docs_is_linked_from_another() -> None:
    linked = {
        (page.parent / link.partition("#")[0]).resolve() for page in PAGES for link in _links(page)
    }
    docs = {page for page in PAGES if page.is_relative_to(ROOT / "docs")} - set(DECISIONS)
    assert {_id(page) for page in docs if page.resolve() not in linked} == set()
