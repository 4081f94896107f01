"""The documentation: made pages are up to date, commands are run, manifests are valid, links lead somewhere."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import docs
import reasons
from harness.pages import DOCS, RUN, Block, all_pages, blocks
from testbed.settings import REPO_ROOT
from unit.packaging.test_copies import schema_of, strict

KINDS = {"EscrowSession": "escrowsessions.yaml", "WalletPool": "walletpools.yaml"}

LANGUAGES = {"sh", "yaml", "python", "text"}

ELSEWHERE = [REPO_ROOT / "CONTRIBUTING.md", REPO_ROOT / "CHANGELOG.md", *(REPO_ROOT / "charts").rglob("README.md")]

HEREDOC = re.compile(r"<<'?EOF'?\n(.*?)^EOF$", re.DOTALL | re.MULTILINE)

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def every_block() -> list[Block]:
    return [block for page in all_pages() for block in blocks(page)]


def manifests() -> list[tuple[str, dict[str, Any]]]:
    """All objects of our kinds, in blocks of YAML and in commands."""
    found = []
    for block in every_block():
        texts = [block.text] if block.language == "yaml" else HEREDOC.findall(block.text)
        for text in texts:
            bodies = yaml.safe_load_all(text.replace("$POOL", "default"))
            found += [(str(block), one) for one in bodies if isinstance(one, dict) and one.get("kind") in KINDS]
    return found


def anchors(page: Path) -> set[str]:
    """What one can link to in a page: its headings, as GitHub and the site name them."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    found: Counter[str] = Counter()
    names = set()
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        names.add(f"{name}-{found[name]}" if found[name] else name)
        found[name] += 1
    return names


def links() -> list[tuple[Path, str]]:
    found = []
    for page in [*all_pages(), *ELSEWHERE]:
        text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
        found += [(page, target) for target in LINK.findall(re.sub(r"`[^`\n]*`", "", text)) if "://" not in target]
    return found


@pytest.mark.parametrize("path", sorted(docs.files()), ids=lambda path: path.name)
def test_pages_that_are_made_are_up_to_date(path: Path) -> None:
    assert path.read_text() == docs.files()[path], "run: python deploy/docs.py"


def test_no_page_is_made_that_nothing_makes() -> None:
    made = {page for page in DOCS.rglob("*.md") if "<!-- Made by deploy/docs.py" in page.read_text()}
    assert made == set(docs.files())


def test_every_reason_of_the_code_is_explained() -> None:
    assert reasons.unexplained() == set()


def test_every_explained_reason_is_in_the_code() -> None:
    assert reasons.invented() == set()


def test_the_table_of_reasons_says_each_once() -> None:
    names = [name for group in reasons.groups() for key in group["reasons"] for name in key.split(", ")]
    assert [name for name, count in Counter(names).items() if count > 1] == []


def test_words_that_are_no_reasons_are_still_in_the_code() -> None:
    assert reasons.OTHER_WORDS - reasons.in_code().words == set()


def test_reasons_are_found_in_the_code() -> None:
    """The reader of the code sees what it is meant to see."""
    found = reasons.in_code()
    assert {"PoolEmpty", "SecretNotMarked", "TouchInvalid", "Settled", "SlotUnauthorized"} <= found.words
    assert {"PoolEmpty", "SecretNotMarked", "TouchInvalid", "OpeningTimedOut"} <= found.certain
    assert {"PoolEmpty", "TouchInvalid"} <= found.warnings
    assert "WrongPassword" in found.failing


def test_every_value_of_the_chart_is_on_its_page_with_a_meaning() -> None:
    page = (DOCS / "reference" / "values.md").read_text()

    def paths(value: Any, path: str) -> list[str]:
        if not isinstance(value, dict) or not value:
            return [path]
        return [found for name, inner in value.items() for found in paths(inner, f"{path}.{name}" if path else name)]

    values = paths(yaml.safe_load(docs.VALUES.read_text()), "")
    assert [path for path in values if f"| `{path}` |" not in page] == []
    silent = set(re.findall(r"^\| `([\w.]+)` \| `[^|]*` \|  \|$", page, re.MULTILINE))
    # A switch, or a part of what the row above it explains.
    assert {path for path in silent if not re.search(r"enabled$|resources\.|\.labels\.", path)} == set()


def test_every_field_of_a_spec_is_on_its_page_with_a_meaning() -> None:
    for name in ("escrowsession", "walletpool"):
        page = (DOCS / "reference" / f"{name}.md").read_text()
        spec, _, _ = page.partition("## status")
        assert re.findall(r"^\| `[^`]+` \| [^|]+ \|  \|$", spec, re.MULTILINE) == []
        for field in schema_of(f"{name}s.yaml")["properties"]["spec"]["properties"]:
            assert f"| `{field}` |" in spec, field


def test_every_block_says_what_it_is() -> None:
    strange = [str(b) for b in every_block() if b.language not in LANGUAGES or b.rest.strip()]
    assert strange == []


def test_every_command_is_run_by_a_test_or_says_what_it_needs() -> None:
    pages = {DOCS / page for page in RUN}
    left = [str(b) for b in every_block() if b.language == "sh" and b.title is None and b.page not in pages]
    assert left == [], 'give the block a title that says what it needs (```sh title="…"), or run its page'


def test_a_title_says_something() -> None:
    assert [str(b) for b in every_block() if b.title is not None and len(b.title) < len("a clone")] == []


@pytest.mark.parametrize("body", [pytest.param(body, id=place) for place, body in manifests()])
def test_manifests_fit_their_schema(body: dict[str, Any]) -> None:
    schema = strict(schema_of(KINDS[body["kind"]]))
    schema["properties"]["metadata"] = {"type": "object"}
    jsonschema.Draft202012Validator(schema).validate(body)


def test_there_are_manifests_of_both_kinds() -> None:
    assert {body["kind"] for _, body in manifests()} == set(KINDS)


def test_parts_of_a_pools_spec_fit_its_schema() -> None:
    spec = strict(schema_of("walletpools.yaml"))["properties"]["spec"]
    spec = {**spec, "required": []}
    parts = [
        yaml.safe_load(b.text) for b in blocks(DOCS / "install.md") if b.language == "yaml" and "kind:" not in b.text
    ]
    assert len(parts) == 2
    for part in parts:
        jsonschema.Draft202012Validator(spec).validate(part)


def test_links_lead_to_files_and_headings_that_are_there() -> None:
    broken = []
    for page, link in links():
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(f"{page.relative_to(REPO_ROOT)}: {link}")
    assert broken == []


def test_pages_link_to_nothing_outside_the_site() -> None:
    """On the site there are no other files."""
    outside = [
        f"{page.name}: {link}"
        for page, link in links()
        if DOCS in page.parents and not (page.parent / link.partition("#")[0]).resolve().is_relative_to(DOCS)
    ]
    assert outside == []


def test_every_page_is_in_the_sites_navigation_once() -> None:
    config = tomllib.loads((REPO_ROOT / "zensical.toml").read_text())

    def listed(part: Any) -> list[str]:
        if isinstance(part, str):
            return [part]
        return [page for inner in (part.values() if isinstance(part, dict) else part) for page in listed(inner)]

    assert sorted(listed(config["project"]["nav"])) == sorted(str(p.relative_to(DOCS)) for p in DOCS.rglob("*.md"))


def test_pages_and_pictures_need_no_other_host() -> None:
    for path in [*DOCS.rglob("*.md"), *DOCS.rglob("*.svg")]:
        text = path.read_text()
        assert not re.search(r"<script|(?:src|href)=\"https?:|url\(\"?https?:|```mermaid", text), path


def test_the_readme_is_short() -> None:
    assert len((REPO_ROOT / "README.md").read_text().splitlines()) <= 120
