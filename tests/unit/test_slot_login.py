"""What the init container of a slot writes for wallet-rpc."""

from __future__ import annotations

from pathlib import Path

import pytest

from escrow_operator import slot_login
from escrow_operator.core.login import derive_login
from escrow_operator.core.wallet_tls import derive_certificate

INJECTIONS = ["x\ntx-notify=/wallets/evil %s", "x\r\nlog-level=4", "x\x0b", "pa#ss", " pass", "pass ", "\u2028"]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in {"LOGIN_KEY": "key", "POD_UID": "uid", "CONFIG_FILE": str(tmp_path / "conf")}.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "conf"


def test_a_login_is_one_line_of_the_configuration(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAEMON_USER", "user")
    monkeypatch.setenv("DAEMON_PASSWORD", "pass:wörd = x")
    slot_login.main()
    own = derive_login("key", "uid")
    assert written.read_text() == f"rpc-login={own.user}:{own.password}\ndaemon-login=user:pass:wörd = x\n"
    assert written.stat().st_mode & 0o777 == 0o600


def test_its_certificate_is_the_one_that_the_operator_expects(
    written: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hosts = ("*.a.svc", "*.a.svc.cluster.local")
    files = {"TLS_CERTIFICATE": tmp_path / "tls.crt", "TLS_PRIVATE_KEY": tmp_path / "tls.key"}
    for name, value in ({"TLS_HOSTS": " ".join(hosts)} | files).items():
        monkeypatch.setenv(name, str(value))
    slot_login.main()
    expected = derive_certificate("key", "uid", hosts)
    assert files["TLS_CERTIFICATE"].read_text() == expected.pem
    assert files["TLS_PRIVATE_KEY"].read_text() == expected.private_key
    assert [file.stat().st_mode & 0o777 for file in files.values()] == [0o600, 0o600]
    assert written.exists()


@pytest.mark.parametrize(
    ("user", "password"), [*(("user", bad) for bad in INJECTIONS), *((bad, "p") for bad in INJECTIONS), ("a:b", "p")]
)
def test_i9_a_login_of_monerod_is_no_way_to_configure_wallets(
    written: Path, monkeypatch: pytest.MonkeyPatch, user: str, password: str
) -> None:
    """Whoever may change that Secret would run a program in every wallet pod of the pool."""
    monkeypatch.setenv("DAEMON_USER", user)
    monkeypatch.setenv("DAEMON_PASSWORD", password)
    with pytest.raises(SystemExit) as told:
        slot_login.main()
    assert not written.exists()
    assert user not in str(told.value)
    assert "evil" not in str(told.value)
