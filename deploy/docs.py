#!/usr/bin/env python3
"""Writes the pages of docs/ that are made from something else.

deploy/reasons.yaml and the operator's code → troubleshooting.md; crds/ → reference/escrowsession.md and walletpool.md;
the chart's values.yaml → reference/values.md; deploy/examples → reference/examples.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

import generated
import reasons

ROOT = generated.ROOT
DOCS = ROOT / "docs"
CRDS = ROOT / "crds"
EXAMPLES = ROOT / "deploy" / "examples"
VALUES = ROOT / "charts" / "xmr-escrow-operator" / "values.yaml"

MADE = "<!-- Made by deploy/docs.py from {source}: change that, not this. -->\n"

AS_IN_KUBERNETES = frozenset({"affinity", "tolerations", "clients"})
"""Fields that are explained by Kubernetes' own reference."""

ROLES = ("buyer", "vendor", "arbiter")

AS_IN_A_POD = ("nodeSelector", "tolerations", "affinity", "priorityClassName")
"""Values that need no comment."""

TROUBLE = """\
# Troubleshooting

`kubectl get escrow -o wide` shows the reason for Ready, `kubectl describe` the message, which names what to do;
[`kubectl escrow doctor`](cli.md) looks at everything around. This page has every reason that a condition or an Event
can have.

- **W**: its Event is a Warning.
- **Failed**: the session's phase is Failed and its pods were given back; somebody has to mend something.

What mends itself is retried by itself: what keeps wallets from opening after 5 s, then 10, 20 and so on up to 5
minutes, at once after a touch, a change of the spec or of a pod. `Failed` sessions go on when their spec or Secret
changes; all but those with a wrong password, or with too many attempts of a key exchange, also look again by
themselves, after 10 minutes, 20, 40, then every hour (`status.failure.retryAt`), while there is a free place.

A session that hangs in deletion: see [Uninstall](uninstall.md#if-the-operator-went-first). A rejected `kubectl apply`
names the field: immutable are `poolRef`, `setup`, `wallets` and `address`, `amount` and `confirmations` once the
address was published, and `settlement` while it is being followed.
"""


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def troubleshooting() -> str:
    """The page of all reasons. Raises ValueError when the code has a reason that is not explained."""
    if missing := reasons.unexplained():
        raise ValueError(f"deploy/reasons.yaml does not explain {', '.join(sorted(missing))}")
    found = reasons.in_code()

    def marked(name: str) -> str:
        marks = (" **W**" if name in found.warnings else "") + (", **Failed**" if name in found.failing else "")
        return f"`{name}`{marks}"

    parts = [TROUBLE]
    for group in reasons.groups():
        rows = [
            (
                ", ".join(map(marked, key.split(", "))) + (f" ({about['of']})" if "of" in about else ""),
                about["means"],
                about["do"],
            )
            for key, about in group["reasons"].items()
        ]
        parts.append(f"## {group['title']}\n\n{group['text']}\n\n" + table(("Reason", "Means", "What to do"), rows))
    return with_note("deploy/reasons.yaml", "\n".join(parts))


def custom_resource(path: Path) -> str:
    """The fields of a custom resource."""
    crd = yaml.safe_load(path.read_text())
    names = crd["spec"]["names"]
    (version,) = crd["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    lines = [
        f"# {names['kind']}\n\n{schema['description']}\n",
        table(
            ("", ""),
            [
                ("apiVersion", f"`{crd['spec']['group']}/{version['name']}`"),
                ("kind", f"`{names['kind']}`"),
                ("kubectl", ", ".join(f"`{name}`" for name in (names["plural"], *names["shortNames"]))),
            ],
        ),
    ]
    for part in ("spec", "status"):
        inner = schema["properties"][part]
        lines.append(f"## {part}\n\n{inner.get('description', 'What the operator sees. Never written by users.')}\n")
        lines.append(table(("Field", "Type", "Meaning"), fields(inner, "")))
    lines.append("## What is refused\n\nBesides values that do not fit their type, the API server refuses these:\n")
    lines += [f"- {message}" for message in dict.fromkeys(rules(schema))]
    columns = [
        (
            f"`{column['name'].upper()}`" + (" (with `-o wide`)" if column.get("priority") else ""),
            f"`{column['jsonPath']}`",
        )
        for column in version["additionalPrinterColumns"]
    ]
    lines.append("\n## Columns of kubectl get\n\n" + table(("Column", "Field"), columns))
    return with_note(f"crds/{path.name}", "\n".join(lines))


def fields(schema: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str, str]]:
    """Rows for all fields below a schema: path, type, meaning. The three roles share theirs."""
    required = schema.get("required", ())
    properties = dict(schema.get("properties") or {})
    if tuple(properties) == ROLES and len({str(properties[role]) for role in ROLES}) == 1:
        properties = {"<role>": properties[ROLES[0]]}
    for name, inner in properties.items():
        path = f"{prefix}{name}"
        text = " ".join(inner.get("description", "").split())
        notes = []
        if name in required:
            notes.append("Required.")
        if "default" in inner and inner["default"] != {}:
            notes.append(f"Default `{shown(inner['default'])}`.")
        yield f"`{path}`", kind_of(inner), " ".join([text, *notes]).strip()
        if name in AS_IN_KUBERNETES:
            continue
        yield from fields(inner, f"{path}.")
        yield from fields(inner.get("items") or {}, f"{path}[].")


def kind_of(schema: Mapping[str, Any]) -> str:
    """A field's type, with its values or bounds."""
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {kind_of(schema['items'])}"
    kind = str(schema.get("type", "any"))
    if "minimum" in schema and "maximum" in schema:
        return f"{kind}, {schema['minimum']} … {schema['maximum']}"
    return {"date-time": "time"}.get(schema.get("format", ""), kind)


def rules(schema: Any) -> Iterator[str]:
    """The messages of all rules below a schema."""
    if isinstance(schema, dict):
        for rule in schema.get("x-kubernetes-validations") or ():
            yield " ".join(rule["message"].split())
        for inner in schema.values():
            yield from rules(inner)


def values() -> str:
    """The chart's values, with the comments above them."""
    defaults = yaml.safe_load(VALUES.read_text())
    explained = comments(VALUES.read_text())
    general: list[tuple[str, str, str]] = []
    parts = []
    for name, value in defaults.items():
        rows = list(value_rows(value, name, explained))
        if isinstance(value, dict) and value:
            text = f"{explained[name]}\n\n" if explained.get(name) else ""
            parts.append(f"## {name}\n\n{text}" + table(("Value", "Default", "Meaning"), rows))
        else:
            general += rows
    head = (
        "# Chart values\n\nOf `charts/xmr-escrow-operator`, with their defaults. `values.schema.json` refuses those"
        " that make no sense. Also useful: `helm show values charts/xmr-escrow-operator`.\n\n## General\n\n"
    )
    first = head + table(("Value", "Default", "Meaning"), general)
    return with_note("charts/xmr-escrow-operator/values.yaml", "\n".join([first, *parts]))


def value_rows(value: Any, path: str, explained: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Rows for a value and what is below it."""
    if not isinstance(value, dict) or not value:
        usual = "As in a pod." if path.rpartition(".")[2] in AS_IN_A_POD else ""
        yield f"`{path}`", f"`{shown(value)}`", explained.get(path) or usual
        return
    if "." in path and explained.get(path):
        yield f"`{path}`", "", explained[path]
    for name, inner in value.items():
        yield from value_rows(inner, f"{path}.{name}", explained)


def comments(text: str) -> dict[str, str]:
    """The comment above each key of a YAML file, by the key's path. Indented lines in it are examples."""
    found: dict[str, str] = {}
    stack: list[tuple[int, str]] = []
    said: list[str] = []
    for line in text.splitlines():
        bare = line.strip()
        if bare.startswith("#"):
            said.append(bare.removeprefix("#").removeprefix(" "))
            continue
        name, colon, _ = bare.partition(":")
        if bare and colon and not bare.startswith("-"):
            indent = len(line) - len(line.lstrip())
            stack = [entry for entry in stack if entry[0] < indent]
            stack.append((indent, name))
            found[".".join(name for _, name in stack)] = " ".join(
                f"<br>`{part.strip()}`" if part.startswith("  ") else part for part in said
            )
        said = []
    return found


def shown(value: Any) -> str:
    """A default as one writes it in YAML, in one line."""
    if isinstance(value, str):
        return value or '""'
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()


def examples() -> str:
    """All example manifests."""
    parts = ["# Examples\n\nThe files of `deploy/examples`, whole."]
    for path in [*sorted(EXAMPLES.glob("*.yaml")), EXAMPLES / "overlay" / "kustomization.yaml"]:
        name = path.relative_to(EXAMPLES)
        title = name.stem if len(name.parts) == 1 else name.parts[0]
        parts.append(f"## {title}\n\n`deploy/examples/{name}`:\n\n```yaml\n{path.read_text().rstrip()}\n```")
    return with_note("deploy/examples", "\n\n".join(parts) + "\n")


def with_note(source: str, page: str) -> str:
    """A page that says, below its title, what it is made from."""
    title, _, rest = page.partition("\n")
    return f"{title}\n\n{MADE.format(source=source)}{rest}"


def files() -> dict[Path, str]:
    """What there has to be, by path."""
    return {
        DOCS / "troubleshooting.md": troubleshooting(),
        DOCS / "reference" / "escrowsession.md": custom_resource(CRDS / "escrowsessions.yaml"),
        DOCS / "reference" / "walletpool.md": custom_resource(CRDS / "walletpools.yaml"),
        DOCS / "reference" / "values.md": values(),
        DOCS / "reference" / "examples.md": examples(),
    }


def main() -> int:
    """Exit code 1 when --check finds something out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when something is out of date")
    args = parser.parse_args()
    stale = generated.bring_up_to_date(files(), check=args.check)
    return generated.report(stale, check=args.check, command="deploy/docs.py")


if __name__ == "__main__":
    sys.exit(main())
