"""The page on one's own machine: for who has its key, and reading only."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from escrow_cli.page import Tokens, opened, served

LISTS = "v1/namespaces/shop/escrowsessions"


class Served:
    """The server, what the gateway behind it was asked, and the key in the address. Tokens in ``stale`` are refused."""

    def __init__(self) -> None:
        self.asked: list[httpx.Request] = []
        self.made = 0
        self.stale: set[str] = set()
        self.address = ""

    def token(self) -> str:
        self.made += 1
        return f"t0ken-{self.made}"

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if request.headers["authorization"].removeprefix("Bearer ") in self.stale:
            return httpx.Response(401, json={"detail": "expired"})
        headers = {"etag": '"1"', "set-cookie": "a=b", "content-security-policy": "default-src 'none'"}
        if request.headers.get("if-none-match") == '"1"':
            return httpx.Response(304, headers=headers)
        return httpx.Response(200, text=request.url.raw_path.decode(), headers=headers)

    @property
    def root(self) -> str:
        return self.address.partition("#")[0]

    @property
    def key(self) -> str:
        return parse_qs(urlsplit(self.address).fragment)["key"][0]

    def get(self, path: str, *, key: str | None = None, **headers: str) -> httpx.Response:
        headers |= {"Authorization": f"Bearer {self.key if key is None else key}"}
        return httpx.get(self.root + path, headers=headers)


@pytest.fixture
def page() -> Iterator[Served]:
    found = Served()
    gateway = httpx.Client(transport=httpx.MockTransport(found.answer), base_url="https://gateway")
    with served(gateway, Tokens(found.token), "shop") as found.address:
        yield found


def test_who_has_the_key_sees_what_the_account_may_see(page: Served) -> None:
    found = page.get(LISTS + "?x=1")
    assert (found.status_code, found.text) == (200, f"/{LISTS}?x=1")
    assert page.asked[-1].headers["authorization"] == "Bearer t0ken-1"
    assert page.asked[-1].url.host == "gateway"


@pytest.mark.parametrize("key", ["guess", "\u00e9"])
def test_who_has_not_is_told_nothing(page: Served, key: str) -> None:
    found = httpx.get(page.root + LISTS, headers=[(b"Authorization", f"Bearer {key}".encode())])
    assert (found.status_code, found.headers["content-type"]) == (403, "application/problem+json")
    assert httpx.get(page.root + LISTS).status_code == 403
    assert not page.asked


def test_the_files_are_for_anybody(page: Served) -> None:
    assert httpx.get(page.root).text == "/"
    assert httpx.get(page.root + "page/main.js?x=1").text == "/page/main.js"


def test_another_sites_name_for_this_machine_does_not_lead_here(page: Served) -> None:
    port = urlsplit(page.root).port
    assert page.get("", Host=f"evil.example:{port}").status_code == 421
    assert not page.asked


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://evil.example/v1/x", 400),
        ("https://gateway@evil.example/v1/", 400),
        # The library takes it for a path.
        ("//evil.example/v1/x", 404),
    ],
)
def test_the_token_goes_to_the_gateway_alone(page: Served, target: str, status: int) -> None:
    port = urlsplit(page.root).port
    with socket.create_connection(("127.0.0.1", port)) as connection:
        head = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {page.key}\r\n\r\n"
        connection.sendall(head.encode())
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.split()[1] == str(status).encode()
    assert not page.asked


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_is_changed_through_it(page: Served, method: str) -> None:
    found = httpx.request(method, page.root + LISTS, headers={"Authorization": f"Bearer {page.key}"})
    assert found.status_code == 501
    assert not page.asked


def test_only_the_pages_parts_are_served(page: Served) -> None:
    assert page.get("openapi.json").status_code == 404


def test_headers_that_matter_pass_and_others_do_not(page: Served) -> None:
    found = page.get(LISTS, **{"If-None-Match": '"1"', "X-Mine": "x"})
    assert found.status_code == 304
    assert found.headers["content-security-policy"]
    assert "set-cookie" not in found.headers
    assert "x-mine" not in page.asked[-1].headers


def test_a_token_that_expired_is_made_anew(page: Served) -> None:
    page.get(LISTS)
    page.stale.add("t0ken-1")
    assert page.get(LISTS).status_code == 200
    assert page.made == 2


def test_an_account_that_is_gone_is_said(page: Served) -> None:
    page.stale |= {"t0ken-1", "t0ken-2"}
    assert page.get(LISTS).status_code == 401


def test_the_key_is_in_no_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    launched: list[str] = []
    monkeypatch.setattr("escrow_cli.page.typer.launch", launched.append)
    with opened("http://127.0.0.1:1/#key=s3cret&namespace=shop"):
        [file] = launched
        assert "s3cret" not in file
        assert "s3cret&amp;namespace=shop" in Path(file).read_text()
        assert Path(file).parent.stat().st_mode & 0o077 == 0
    assert not Path(file).exists()
