"""Real clients against the built gateway, and SageMaker's stand-in behind it.

The house is set up once: a stand-in that checks signatures with botocore's code, an issuer
that mints what a test asks for, a certified OpenID provider, and one gateway that most tests
share. Tests that end, reload or fill a gateway start one of their own with `start_gateway`.
"""

import contextlib
import copy
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.clients import REGION
from support.gateway import BINARY, Gateway
from support.issuer import AUDIENCE, Issuer
from support.provider import Provider
from support.rules import ACCESS, OWN
from support.standin import StandIn


@pytest.fixture(scope="session")
def standin() -> Iterator[StandIn]:
    with StandIn(OWN, REGION) as standin:
        yield standin


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


@pytest.fixture(scope="session")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with Provider(tmp_path_factory.mktemp("provider")) as certified:
        yield certified


@pytest.fixture(scope="session")
def config(standin: StandIn, issuer: Issuer, certified: Provider) -> dict:
    return {
        "server": {"max_body": "1MiB", "drain_timeout": "20s"},
        "aws": {"region": REGION, "runtime_url": standin.url},
        "issuers": {
            "corp": {"issuer": issuer.url, "audiences": [AUDIENCE], "jwks_url": issuer.jwks_url},
            "certified": {"issuer": certified.issuer, "audiences": [AUDIENCE]},
        },
    }


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory, config: dict) -> Iterator[Gateway]:
    """The gateway that most tests share."""
    _require_binary()
    with Gateway(tmp_path_factory.mktemp("gateway"), config, ACCESS, OWN) as gateway:
        yield gateway


@pytest.fixture
def start_gateway(tmp_path: Path, config: dict) -> Iterator[Callable[[], Gateway]]:
    """Starts a gateway for this test alone."""
    _require_binary()
    with contextlib.ExitStack() as started:
        yield lambda: started.enter_context(Gateway(tmp_path / "gateway", config, ACCESS, OWN))


@pytest.fixture
def access() -> dict:
    """A copy of the access rules, for a test to change."""
    return copy.deepcopy(ACCESS)


@pytest.fixture
def token(issuer: Issuer) -> str:
    """The token of somebody who may call."""
    return issuer.token("callers")


@pytest.fixture
def held(standin: StandIn) -> Iterator[threading.Event]:
    """Holds the streams of `drip` after their first part until the test sets the event."""
    standin.release = threading.Event()
    yield standin.release
    standin.release.set()


@pytest.fixture(autouse=True)
def nothing_wrong_upstream(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever else a test looks at, no request that it caused may reach SageMaker with a fault."""
    if "standin" not in request.fixturenames and "gateway" not in request.fixturenames:
        yield
        return
    standin = request.getfixturevalue("standin")
    before = len(standin.seen)
    yield
    assert [fault for seen in standin.seen[before:] for fault in seen.faults] == []


def _require_binary() -> None:
    if not BINARY.is_file():
        pytest.fail(
            f"no gateway to test at {BINARY}: run `cargo build`, or set SAGEGATE_BIN", False
        )
