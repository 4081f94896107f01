"""How a call fails, and that no failure tells a secret. Codes and texts were recorded from v0.18.5.3."""

import logging
import traceback

import pytest
from aiohttp import web

from escrow_operator import errors
from escrow_operator.models.monero import KeyExchange, Login
from unit.adapters.fake_server import FakeServer, MakeWallet

INFO = "MultisigxV2R1EsbGLBESXKN3sG6mnVbFJocNxWSyx7hfhJ237Q2R34e91TbQcngWMVhLUomDBUQgrd42d1nxLBEJwTWCcbJE3Yvh"
PASSWORD = "correct horse"
LOGIN = Login("op", "secret-of-the-pod")


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (-1, "Failed to open wallet : Invalid password.", errors.InvalidPassword),
        (-1, 'Failed to open wallet : file not found "/wallets/a.keys"', errors.WalletFileNotFound),
        (
            -1,
            'Failed to open wallet : internal error: "/wallets/a.keys" is opened by another wallet program',
            errors.WalletFileLocked,
        ),
        (-1, 'Failed to open wallet : failed to read file "/wallets/a.keys"', errors.WalletStorageError),
        (-1, 'Failed to open wallet : failed to save file "/wallets/a.new"', errors.WalletStorageError),
        (-1, "Failed to open wallet : boost::filesystem::rename: No space left on device", errors.WalletStorageError),
        (-1, "Failed to open wallet : basic_filebuf::underflow error: Input/output error", errors.WalletStorageError),
        (-1, "Failed to open wallet : std::bad_alloc", errors.WalletFileDamaged),
        (-1, "Failed to open wallet : input stream error", errors.WalletFileDamaged),
        (-1, "Failed to open wallet : basic_string::_M_replace_aux", errors.WalletFileDamaged),
        (
            -1,
            "Failed to open wallet : internal error: failed to deserialize keys buffer",
            errors.WalletFileDamaged,
        ),
        (-32602, "Invalid params", errors.WalletRpcError),
    ],
)
async def test_what_keeps_a_wallet_from_opening(
    code: int, text: str, expected: type[errors.WalletError], wallet: MakeWallet
) -> None:
    with pytest.raises(errors.WalletError) as caught:
        await (await wallet(FakeServer(errors={"open_wallet": (code, text)}))).open_wallet("a", PASSWORD)
    assert type(caught.value) is expected
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("method", "code", "text", "expected"),
    [
        ("export_multisig_info", -13, "No wallet file", errors.NoWalletOpen),
        ("export_multisig_info", -31, "This wallet is not multisig", errors.NotMultisig),
        ("prepare_multisig", -28, "This wallet is already multisig", errors.AlreadyMultisig),
        ("create_wallet", -21, "Cannot create wallet. Already exists.", errors.WalletFileExists),
        ("create_wallet", -1, 'failed to save file "/wallets/a.keys"', errors.WalletStorageError),
        ("close_wallet", -1, 'failed to save file "/wallets/a.new"', errors.WalletStorageError),
        ("make_multisig", -1, 'failed to save file "/wallets/a.keys"', errors.WalletStorageError),
        ("make_multisig", -1, "Kex message unexpectedly small.", errors.BadMultisigInfo),
        ("make_multisig", -1, "Multisig kex msg signature invalid.", errors.BadMultisigInfo),
        ("make_multisig", -1, "invalid password", errors.InvalidPassword),
        (
            "exchange_multisig_keys",
            -1,
            "Error calling exchange_multisig_info: multisig account: … kex is already complete.",
            errors.AlreadyMultisig,
        ),
        ("import_multisig_info", -26, "Failed to parse hex.", errors.BadMultisigInfo),
        (
            "import_multisig_info",
            -33,
            "Needs multisig export info from more participants",
            errors.BadMultisigInfo,
        ),
        (
            "import_multisig_info",
            -1,
            "Error calling import_multisig: Bad multisig info file magic in ",
            errors.BadMultisigInfo,
        ),
        (
            "sign_multisig",
            -35,
            "Failed to sign multisig tx: This signature was made with stale data",
            errors.StaleMultisigNonces,
        ),
        ("prepare_multisig", -48, "Multisig is disabled", errors.MultisigDisabled),
        ("refresh", -38, "no connection to daemon", errors.WalletDaemonUnavailable),
        ("refresh", -3, "daemon is busy", errors.WalletDaemonUnavailable),
        ("refresh", -1, "failed to get blocks", errors.WalletDaemonUnavailable),
        ("transfer", -17, "not enough money", errors.WalletRpcError),
        ("get_address", -32601, "Method not found", errors.WalletRpcError),
    ],
)
async def test_each_error_says_what_the_caller_can_do(
    method: str, code: int, text: str, expected: type[errors.WalletError], wallet: MakeWallet
) -> None:
    with pytest.raises(errors.WalletError) as caught:
        await (await wallet(FakeServer(errors={method: (code, text)}))).call(method, {}, 1)
    assert type(caught.value) is expected
    assert caught.value.code == code


async def test_i9_no_secret_in_errors_or_logs(caplog: pytest.LogCaptureFixture, wallet: MakeWallet) -> None:
    """I9: whatever the server says and however a call fails, nothing the request carried is quoted."""
    caplog.set_level(logging.DEBUG)
    peer = "MultisigxV2Rn1" + "WBxt6Pjgk85q8e1ssG8f2f4yzG6bSu9EAVSyFzCsrQ36uWG4JB3mdpMiPhCoEkKKiL"
    echo = f"cannot use {PASSWORD} with {INFO} and {peer}"
    secrets = [PASSWORD, INFO, peer, LOGIN.password]
    raised: list[BaseException] = []
    for code in (-1, -4, -13, -22, -26, -31, -33, -35, -999, 0):
        server = FakeServer(login=LOGIN)
        server.errors |= dict.fromkeys(("open_wallet", "make_multisig"), (code, echo))
        rpc = await wallet(server, LOGIN)
        for call in (rpc.open_wallet("a", PASSWORD), rpc.make_multisig([INFO], 2, PASSWORD)):
            with pytest.raises(errors.WalletError) as caught:
                await call
            raised.append(caught.value)

    async def broken(request: web.Request) -> web.Response:
        assert request.transport
        request.transport.abort()
        return web.Response()

    async def echoing(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    for handler in (broken, echoing):
        rpc = await wallet(handler)
        with pytest.raises(errors.WalletError) as caught:
            await rpc.open_wallet("a", PASSWORD)
        raised.append(caught.value)
    shown = [text for error in raised for text in (repr(error), *traceback.format_exception(error))]
    shown += [repr(LOGIN), repr(KeyExchange("", INFO)), caplog.text]
    assert not [secret for secret in secrets for text in shown if secret in text]
