"""The OpenAPI document of the gateway."""

from __future__ import annotations

from typing import Any

from escrow_gateway.envelope import LONGEST_ID
from escrow_gateway.methods import METHODS, NEVER, Access
from escrow_gateway.problems import MEDIA_TYPE, TYPE_PREFIX, Kind
from escrow_operator.models.common import ROLES

Document = dict[str, Any]

_NAME = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}

_SPEC_TEXT = "The spec of an EscrowSession; kubectl explain escrowsession.spec tells its fields."


def document(*, with_page: bool = False) -> Document:
    """OpenAPI 3.1, made from the same tables that the gateway works by; ``with_page``: what the page reads, too."""
    session = {"get": _show(), "put": _put(), "parameters": [_parameter("namespace"), _parameter("name")]}
    wallet = {
        "post": _call(),
        "parameters": [
            _parameter("namespace"),
            _parameter("name"),
            _parameter("role", {"type": "string", "enum": [role.value for role in ROLES]}),
        ],
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "XMR escrow gateway",
            "version": "v1",
            "description": (
                "JSON-RPC of the open wallets of EscrowSessions. Who calls is decided by TokenReview, what he may by"
                " SubjectAccessReview on escrowsessions/ROLE with the verb of the method's class: "
                + "; ".join(f"{access}: {_listed(access)}" for access in Access if access is not Access.NEVER)
                + ". Never forwarded: "
                + ", ".join(sorted(NEVER))
                + "."
            ),
        },
        "security": [{"token": []}],
        "paths": {
            "/v1/namespaces/{namespace}/escrowsessions/{name}": session,
            "/v1/namespaces/{namespace}/escrowsessions/{name}/wallets/{role}/json_rpc": wallet,
            **(_lists() if with_page else {}),
        },
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of a Kubernetes service account, for the gateway's audience.",
                }
            },
            "schemas": {"Problem": _problem_schema(), "Session": _session_schema(), "List": _list_schema()},
            "responses": {
                "Problem": {
                    "description": "Not served; detail says what to do.",
                    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
                }
            },
        },
    }


def _listed(access: Access) -> str:
    return ", ".join(sorted(name for name, found in METHODS.items() if found is access))


def _parameter(name: str, schema: dict[str, Any] = _NAME) -> Document:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _call() -> Document:
    return {
        "operationId": "callWallet",
        "summary": "Call a method of the wallet",
        "description": (
            "As monero-wallet-rpc's /json_rpc; batches, fractions and names that come twice are refused. A closed"
            " session is opened, and the call waits for it: at most so long as the header Prefer: wait=SECONDS says."
        ),
        "parameters": [
            {"name": "Prefer", "in": "header", "required": False, "schema": {"type": "string", "examples": ["wait=5"]}}
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["method"],
                        "additionalProperties": False,
                        "properties": {
                            "jsonrpc": {"const": "2.0"},
                            "id": {
                                "anyOf": [{"type": ["integer", "null"]}, {"type": "string", "maxLength": LONGEST_ID}]
                            },
                            "method": {"type": "string", "enum": sorted(set(METHODS) - set(NEVER))},
                            "params": {"type": ["object", "null"]},
                        },
                    }
                }
            },
        },
        "responses": {
            "200": {
                "description": "The wallet's own answer, byte for byte; an error of the wallet is one, too.",
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }


def _show() -> Document:
    return {
        "operationId": "showSession",
        "summary": "What a session is; no use of it",
        "responses": {"200": _told("The session"), "default": {"$ref": "#/components/responses/Problem"}},
    }


def _put() -> Document:
    return {
        "operationId": "getOrCreateSession",
        "summary": "Get the session, or create it with this spec",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["spec"],
                        "properties": {"spec": {"type": "object", "description": _SPEC_TEXT}},
                    }
                }
            },
        },
        "responses": {
            "200": _told("There is one with this spec"),
            "201": _told("It was created"),
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }


def _lists() -> Document:
    namespace, name = _parameter("namespace"), _parameter("name")
    return {
        "/v1/escrowsessions": _list("listAllSessions", "The sessions of all namespaces"),
        "/v1/namespaces/{namespace}/escrowsessions": _list("listSessions", "The sessions of a namespace", namespace),
        "/v1/walletpools": _list("listAllPools", "The pools of all namespaces"),
        "/v1/namespaces/{namespace}/walletpools": _list("listPools", "The pools of a namespace", namespace),
        "/v1/namespaces/{namespace}/escrowsessions/{name}/events": _list(
            "listEvents", "The Events of a session", namespace, name
        ),
    }


def _list(operation: str, summary: str, *parameters: Document) -> Document:
    tag = {"name": "If-None-Match", "in": "header", "required": False, "schema": {"type": "string"}}
    found = {"schema": {"$ref": "#/components/schemas/List"}}
    return {
        "get": {
            "operationId": operation,
            "summary": summary + ", for those who may list them",
            "parameters": [tag],
            "responses": {
                "200": {"description": summary, "content": {"application/json": found}},
                "304": {"description": "It is what If-None-Match says"},
                "default": {"$ref": "#/components/responses/Problem"},
            },
        },
        **({"parameters": list(parameters)} if parameters else {}),
    }


def _told(what: str) -> Document:
    return {
        "description": what,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Session"}}},
    }


def _problem_schema() -> Document:
    return {
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "enum": [TYPE_PREFIX + kind.slug for kind in Kind]},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What to do."},
            "reason": {"type": "string", "description": "The reason of the session's Ready condition, or Kubernetes'."},
        },
    }


def _list_schema() -> Document:
    return {
        "type": "object",
        "required": ["items", "more"],
        "properties": {
            "items": {"type": "array", "items": {"type": "object"}},
            "more": {"type": "boolean", "description": "There are more than an answer has."},
        },
    }


def _session_schema() -> Document:
    return {
        "type": "object",
        "required": ["namespace", "name", "ready", "wallets"],
        "properties": {
            "namespace": {"type": "string"},
            "name": {"type": "string"},
            "ready": {"type": "boolean"},
            "reason": {"type": ["string", "null"], "description": "Of the condition Ready."},
            "message": {"type": ["string", "null"], "description": "Of the condition Ready."},
            "uid": {"type": ["string", "null"]},
            "createdAt": {"type": ["string", "null"], "format": "date-time"},
            "amount": {"type": ["string", "null"], "description": "What the buyer has to pay, in XMR."},
            "confirmations": {"type": ["integer", "null"]},
            "pool": {"type": "string"},
            "suspend": {"type": "boolean", "description": "spec.suspend."},
            "phase": {"type": "string"},
            "address": {"type": "string", "description": "The escrow's address, once it is proven."},
            "balance": {"type": "object"},
            "funding": {"type": "object"},
            "settlement": {"type": "object"},
            "expiresAt": {"type": "string", "format": "date-time"},
            "moneyMovedAt": {"type": "string", "format": "date-time"},
            "conditions": {"type": "array", "items": {"type": "object"}},
            "wallets": {
                "type": "object",
                "description": "The path of each wallet's JSON-RPC, by role.",
                "additionalProperties": {"type": "string"},
            },
        },
    }
