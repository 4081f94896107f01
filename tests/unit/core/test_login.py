"""Every slot has a login of its own that nobody stores, and no login is more than one line of a configuration."""

from __future__ import annotations

import base64
import hashlib
import hmac
import string

from hypothesis import given
from hypothesis import strategies as st

from escrow_operator.core.login import derive_login, is_configurable, key_id
from escrow_operator.models.monero import Login

KEYS = st.text(min_size=1, max_size=60)


@given(key=KEYS, uid=KEYS)
def test_operator_and_slot_come_to_the_same_and_to_256_bits_of_it(key: str, uid: str) -> None:
    login = derive_login(key, uid)
    assert login == derive_login(key, uid)
    digest = hmac.new(key.encode(), uid.encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64decode(login.password + "=") == digest
    assert set(login.password) <= set(string.ascii_letters + string.digits + "-_"), "it stands in URLs and in files"


@given(key=KEYS, other=KEYS, uid=KEYS, another=KEYS)
def test_no_slot_learns_anothers_login_and_another_key_is_another_login(
    key: str, other: str, uid: str, another: str
) -> None:
    # HMAC fills short keys with zeros: such keys are one.
    if key.rstrip("\0") != other.rstrip("\0"):
        assert derive_login(key, uid).password != derive_login(other, uid).password
    if uid != another:
        assert derive_login(key, uid) != derive_login(key, another)


@given(key=st.text(min_size=13, max_size=60))
def test_i9_what_pods_say_of_the_key_tells_neither_the_key_nor_a_login(key: str) -> None:
    """It is in an annotation, which many may read."""
    assert key not in key_id(key)
    assert key_id(key) not in derive_login(key, "uid").password
    assert key_id(key) != hmac.new(key.encode(), b"", hashlib.sha256).hexdigest()[:12]
    assert key_id(key) != hashlib.sha256(key.encode()).hexdigest()[:12], "nor what others may know of it"


def test_i9_no_login_shows_its_password() -> None:
    login = derive_login("key", "uid")
    assert login.password not in repr(login)


def parsed(line: str) -> Login:
    """As wallet-rpc reads a line of its configuration: comments and spaces at the ends go, the first ``:`` parts."""
    name, _, value = line.partition("#")[0].partition("=")
    assert name == "daemon-login"
    user, _, password = value.strip().partition(":")
    return Login(user, password)


ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(user=ANY | st.text("a:# =", max_size=5), password=ANY | st.text("a:# =\n", max_size=5))
def test_a_login_that_is_configurable_is_read_as_it_was_written_and_is_one_line(user: str, password: str) -> None:
    if is_configurable(Login(user, password)):
        (line,) = f"daemon-login={user}:{password}".splitlines()
        assert parsed(line) == Login(user, password)


@given(st.text(string.ascii_letters + string.digits + "äß!$%&/()=?:;,._-+*~", min_size=1, max_size=40))
def test_what_passwords_usually_are_is_configurable(password: str) -> None:
    assert is_configurable(Login("user", password))


@given(st.text(string.printable, min_size=1, max_size=40))
def test_a_derived_login_is_configurable_whatever_the_key(key: str) -> None:
    assert is_configurable(derive_login(key, "0a1b-uid"))
