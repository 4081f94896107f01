"""crds/ and the models of escrow_operator.models say the same: names, required fields, defaults, choices and limits."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic.dataclasses import is_pydantic_dataclass
from pydantic.fields import FieldInfo

from escrow_operator.core.conditions import Condition
from escrow_operator.core.manifests.session import deed_secret
from escrow_operator.core.poolstatus import pool_status
from escrow_operator.models.common import GROUP, LONGEST_NAME, ROLES, VERSION, is_name, parse_duration
from escrow_operator.models.deed import Deed
from escrow_operator.models.monero import MAX_PICONERO, format_xmr
from escrow_operator.models.pool import Pool, PoolSpec
from escrow_operator.models.session import FundingState, Phase, Session, SessionSpec
from testbed.settings import REPO_ROOT

Schema = dict[str, Any]

SPECS: dict[str, type] = {"escrowsessions": SessionSpec, "walletpools": PoolSpec}


def crd(plural: str) -> Schema:
    """A custom resource definition."""
    found: Schema = yaml.safe_load((REPO_ROOT / "crds" / f"{plural}.yaml").read_text())
    return found


def schema_of(plural: str, part: str) -> Schema:
    """The schema of spec or status."""
    (version,) = crd(plural)["spec"]["versions"]
    found: Schema = version["schema"]["openAPIV3Schema"]["properties"][part]
    return found


def bare(annotation: Any) -> Any:
    """A type without Annotated and without None."""
    if get_origin(annotation) is Annotated:
        return bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        (only,) = (arg for arg in get_args(annotation) if arg is not type(None))
        return bare(only)
    return annotation


def is_model(kind: Any) -> bool:
    """Whether a type is a part of a custom resource."""
    return isinstance(kind, type) and is_pydantic_dataclass(kind)


def read(model: Any) -> dict[str, FieldInfo]:
    """What pydantic knows of the fields, by their name in Python."""
    found: dict[str, FieldInfo] = model.__pydantic_fields__
    return found


def pairs(model: type, schema: Schema, path: str) -> Iterator[tuple[str, type, Schema]]:
    """Each model with the schema of the same object, from the top down."""
    yield path, model, schema
    for name, field in read(model).items():
        below = schema.get("properties", {}).get(field.alias or name)
        if below is None:
            continue  # test_properties_are_the_same says so
        kind = bare(field.annotation)
        if get_origin(kind) is tuple:
            kind, below = bare(get_args(kind)[0]), below.get("items", {})
        if is_model(kind):
            yield from pairs(kind, below, f"{path}.{field.alias}")


PAIRS = [pair for plural, model in SPECS.items() for pair in pairs(model, schema_of(plural, "spec"), plural)]
EACH = pytest.mark.parametrize(("path", "model", "schema"), PAIRS, ids=[path for path, _, _ in PAIRS])


def fields(model: type) -> dict[str, Any]:
    """A model's fields by their name in the API."""
    return {field.alias or name: field for name, field in read(model).items()}


def as_json(value: Any) -> Any:
    """A default as the API shows it; an object that is made of defaults only as an empty one."""
    if is_model(type(value)):
        return {}
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, timedelta):
        return f"{value // timedelta(hours=1)}h"
    return value.value if isinstance(value, StrEnum) else value


@EACH
def test_properties_are_the_same(path: str, model: type, schema: Schema) -> None:
    assert fields(model).keys() == schema["properties"].keys(), path


@EACH
def test_required_fields_are_the_same(path: str, model: type, schema: Schema) -> None:
    required = {name for name, field in fields(model).items() if field.is_required()}

    assert required == set(schema.get("required", [])), path


@EACH
def test_defaults_are_the_same(path: str, model: type, schema: Schema) -> None:
    for name, field in fields(model).items():
        if field.is_required():
            continue
        default = as_json(field.default)
        written = schema["properties"][name].get("default")
        # An absent object or list means the same as an empty one.
        assert (default or None) == (written or None), f"{path}.{name}"


@EACH
def test_types_and_choices_are_the_same(path: str, model: type, schema: Schema) -> None:
    names = {str: "string", bool: "boolean", int: "integer", dict: "object", timedelta: "string", tuple: "array"}
    for name, field in fields(model).items():
        kind, written = bare(field.annotation), schema["properties"][name]
        where = f"{path}.{name}"
        if isinstance(kind, type) and issubclass(kind, StrEnum):
            assert set(kind) == set(written["enum"]), where
        elif is_model(kind):
            assert written["type"] == "object", where
        else:
            assert names[get_origin(kind) or kind] == written["type"], where


def described(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Every property below a schema."""
    for name, below in schema.get("properties", {}).items():
        yield f"{path}.{name}", below
        yield from described(below, f"{path}.{name}")
    if "items" in schema:
        yield from described(schema["items"], f"{path}[]")


@pytest.mark.parametrize("plural", SPECS)
def test_kubectl_explain_explains_every_field_of_the_spec(plural: str) -> None:
    silent = [path for path, schema in described(schema_of(plural, "spec"), plural) if not schema.get("description")]

    assert not silent


@pytest.mark.parametrize("plural", SPECS)
def test_no_comma_has_cut_a_description_in_two(plural: str) -> None:
    """``{description: One, two}`` is two keys in YAML; the API server rejects the second."""

    def check(node: Any, path: str) -> None:
        assert node is not None, path
        for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
            check(value, f"{path}.{key}")

    check(crd(plural), plural)


@pytest.mark.parametrize("plural", SPECS)
def test_names_are_those_of_the_models(plural: str) -> None:
    found = crd(plural)

    assert found["spec"]["group"] == GROUP
    assert [version["name"] for version in found["spec"]["versions"]] == [VERSION]
    assert found["metadata"]["name"] == f"{plural}.{GROUP}"


def test_printer_columns_show_fields_that_exist() -> None:
    for plural in SPECS:
        for column in crd(plural)["spec"]["versions"][0]["additionalPrinterColumns"]:
            _, part, *names = column["jsonPath"].split("[")[0].split(".")
            if part == "metadata":
                continue
            schema = schema_of(plural, part)
            for name in names:
                assert name in schema["properties"], f"{plural}: {column['jsonPath']}"
                schema = schema["properties"][name]


def test_phases_and_states_of_the_status_are_the_models() -> None:
    status = schema_of("escrowsessions", "status")["properties"]

    assert status["phase"]["enum"] == list(Phase)
    assert set(status["funding"]["properties"]["state"]["enum"]) == set(FundingState)


def test_a_condition_fits_its_schema() -> None:
    for plural in SPECS:
        items = schema_of(plural, "status")["properties"]["conditions"]["items"]
        statuses = {Condition("Ready", status, "Reason", "").status_text for status in (True, False, None)}
        assert statuses == set(items["properties"]["status"]["enum"])


def test_every_field_of_a_pools_status_is_in_the_schema() -> None:
    """The API server drops what is not."""
    meta = {"namespace": "shop", "name": "default", "uid": "u", "resourceVersion": "1"}
    spec = {"image": "a", "daemon": {"address": "a:1", "network": "mainnet"}}
    pool = Pool.parse({"metadata": meta, "spec": spec})
    opened = [datetime(2026, 1, 1, tzinfo=UTC)]
    status = pool_status(pool, [], opened=opened, active=1, waiting=0, prepared=0, memory=1, max_active=10, daemon=None)

    def check(value: Any, schema: Schema, path: str) -> None:
        if isinstance(value, dict):
            assert value.keys() <= schema["properties"].keys(), path
            for name, below in value.items():
                check(below, schema["properties"][name], f"{path}.{name}")

    check(status, schema_of("walletpools", "status"), "status")


def test_the_status_keeps_what_the_operator_reads_back() -> None:
    """State that is read from a field which the API server drops is no state."""
    source = "".join(path.read_text() for path in (REPO_ROOT / "operator" / "escrow_operator").rglob("*.py"))
    owner = r"(?:session|pool|latest|fresh|self|known)\.status"
    read = set(re.findall(rf"{owner}(?:\.get\(|\[)\"(\w+)\"", source))
    read |= set(re.findall(rf"\"(\w+)\" (?:not )?in {owner}", source))
    kept = {name for plural in SPECS for name in schema_of(plural, "status")["properties"]}

    assert {"phase", "conditions", "failure"} <= read
    assert read <= kept


def test_only_roles_have_wallets() -> None:
    for part in ("spec", "status"):
        wallets = schema_of("escrowsessions", part)["properties"]["wallets"]
        assert tuple(wallets["properties"]) == ROLES
    for count in ("free", "adopted", "starting", "terminating"):
        assert tuple(schema_of("walletpools", "status")["properties"][count]["properties"]) == ROLES


DURATION = re.compile(schema_of("escrowsessions", "spec")["properties"]["ttl"]["pattern"])


@given(
    st.one_of(
        st.from_regex(r"\A([0-9]{1,4}h)?([0-9]{1,4}m)?([0-9]{1,4}s)?\Z"), st.text("0123456789hmsd .-", max_size=8)
    )
)
def test_what_the_schema_takes_for_a_duration_the_operator_can_read(text: str) -> None:
    # The schema's own pattern takes an empty text; a rule beside it (CEL) does not.
    if text and DURATION.fullmatch(text):
        assert parse_duration(text) >= timedelta(0)
    else:
        with pytest.raises(ValueError, match="is not a duration"):
            parse_duration(text)


@given(st.integers(1, MAX_PICONERO))
def test_every_amount_that_can_exist_can_be_asked_for(piconero: int) -> None:
    amount = schema_of_amount()

    assert re.fullmatch(amount["pattern"], format_xmr(piconero))
    assert len(format_xmr(piconero)) <= amount["maxLength"]


_AMOUNT = schema_of("escrowsessions", "spec")["properties"]["amount"]


def schema_of_amount() -> Schema:
    """Of spec.amount."""
    found: Schema = _AMOUNT
    return found


def test_the_file_name_in_a_deed_fits_a_session_that_opens_it() -> None:
    """The longest names there can be: a deed must be good for setup Open."""
    meta = {
        "namespace": "n" * 63,
        "name": "s" * 40,
        "uid": "u",
        "resourceVersion": "1",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    session = Session.parse({"metadata": meta, "spec": {"poolRef": {"name": "p"}, "amount": "1"}})
    deed = Deed(ROLES[0], f"{session.key.namespace}.{session.key.name}.0123abcd", "secret")
    wallet = schema_of("escrowsessions", "spec")["properties"]["wallets"]["properties"]["buyer"]["properties"]

    file = deed_secret(session, deed, "1")["stringData"]["file"]
    assert re.fullmatch(wallet["file"]["pattern"], file)
    assert len(file) <= wallet["file"]["maxLength"]
    key = wallet["secretRef"]["properties"]["key"]["default"]
    assert deed_secret(session, deed, "1")["stringData"][key] == "secret"


NAME_OF_OBJECT = re.compile(r"name|.*Name")


def names(plural: str) -> dict[str, Schema]:
    """Every text of a spec that the operator, or kubelet for it, looks an object or a part of one up by."""
    return {
        path: schema
        for path, schema in described(schema_of(plural, "spec"), plural)
        if schema.get("type") == "string" and NAME_OF_OBJECT.fullmatch(path.rpartition(".")[2])
    }


NAMES = names("escrowsessions") | names("walletpools")


def test_there_are_names() -> None:
    assert {path.rpartition(".")[0].rpartition(".")[2] for path in NAMES} >= {
        "poolRef", "secretRef", "imagePullSecrets[]", "caSecretRef", "clientSecretRef", "loginSecretRef", "storage"
    }  # fmt: skip


@pytest.mark.parametrize("path", NAMES)
def test_a_name_is_nothing_but_a_name(path: str) -> None:
    """What a spec names becomes a part of a URL: no other namespace, and no other kind, can be meant by it."""
    schema = NAMES[path]

    assert "pattern" in schema, f"{path} may be any text"
    assert schema["maxLength"] <= LONGEST_NAME
    assert schema["x-kubernetes-validations"], "a pattern alone does not say what is wrong"
    for text in ("../../other/secrets/bank", "a/b", "..", ".", "", "a?b", "a#b", "a%2fb", "A", "-a", "a.", "a\n"):
        assert not _taken(schema, text), text
    assert _taken(schema, "a-1")


@given(st.data())
def test_what_the_schema_takes_for_a_name_can_be_asked_for(data: st.DataObject) -> None:
    schema = NAMES[data.draw(st.sampled_from(sorted(NAMES)))]
    text = data.draw(st.from_regex(re.compile(str(schema["pattern"]))) | st.text("a.-/%?#A0\n"))

    if _taken(schema, text):
        assert is_name(text)
        assert all(re.search(_regex_of(rule), text) for rule in schema["x-kubernetes-validations"]), "the two differ"


def _taken(schema: Schema, text: str) -> bool:
    """As the API server does: RE2, whose $ is the very end."""
    pattern = schema["pattern"].removesuffix("$") + r"\Z"
    return schema["minLength"] <= len(text) <= schema["maxLength"] and re.search(pattern, text, re.ASCII) is not None


def _regex_of(rule: dict[str, str]) -> str:
    found = re.fullmatch(r"self[.]matches[(]'(.*)'[)]", rule["rule"])
    assert found, rule
    return found[1].removesuffix("$") + r"\Z"


def test_a_key_of_a_secret_is_nothing_but_a_key() -> None:
    for role in ROLES:
        wallet = schema_of("escrowsessions", "spec")["properties"]["wallets"]["properties"][role.value]
        key = wallet["properties"]["secretRef"]["properties"]["key"]
        assert key["pattern"] == "^[-._a-zA-Z0-9]+$"
        assert key["maxLength"] == LONGEST_NAME


@pytest.mark.parametrize("plural", SPECS)
def test_no_field_takes_whatever_comes(plural: str) -> None:
    """JSON of any depth in one object is a list, or a watch, that no reader gets past."""
    (version,) = crd(plural)["spec"]["versions"]

    def check(schema: Any, path: str) -> None:
        if isinstance(schema, dict):
            assert not schema.get("x-kubernetes-preserve-unknown-fields"), f"{path} may be nested without end"
            for key, below in schema.items():
                check(below, f"{path}.{key}")

    check(version["schema"]["openAPIV3Schema"], plural)
