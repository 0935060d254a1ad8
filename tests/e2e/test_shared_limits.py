"""Limits that several gateways share through a real Redis server, and what holds without it."""

import contextlib
import datetime
import http.client
import ipaddress
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from support import http as plain
from support.gateway import Gateway
from support.issuer import Issuer
from support.process import wait_for
from support.prometheus import by_label, total
from support.redis import BINARY, VALKEY, Redis
from support.rules import ACCESS, OWN

INVOKE = "/endpoints/echo/invocations"
DRIP = "/endpoints/drip/invocations-response-stream"

# Of a request's wait: the store's timeout, and what a loaded machine adds to any timer.
TIMEOUT, LATE = 0.020, 0.080

TEAMS = {
    "two": [{"requests": "40/s", "burst": 40}],
    "four": [{"requests": "40/s", "burst": 40}],
    "calm": [{"requests": "1000/s"}, {"concurrency": 100}],
    "few": [{"requests": "2/min", "burst": 2}],
    "slots": [{"concurrency": 4}],
    "daily": [{"requests": "60/day"}],
}


@pytest.fixture(scope="module")
def access() -> dict:
    teams = {name: {"groups": [f"corp/{name}"], "limits": of} for name, of in TEAMS.items()}
    bindings = [{"groups": [f"corp/{name}" for name in TEAMS], "roles": ["caller"]}]
    return ACCESS | {"teams": teams, "bindings": bindings}


@pytest.fixture(autouse=True)
def servers() -> None:
    for binary, variable in ((BINARY, "REDIS_SERVER"), (VALKEY, "VALKEY_SERVER")):
        if not binary.is_file():
            pytest.fail(f"no server at {binary}: run `make test`, or set {variable}", False)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    with Redis(tmp_path / "redis") as redis:
        yield redis


@pytest.fixture
def start(tmp_path: Path, config: dict, access: dict) -> Iterator[Callable[..., list[Gateway]]]:
    """Starts so many gateways on one store."""
    with contextlib.ExitStack() as started:

        def start(count: int, store: dict) -> list[Gateway]:
            shared = config | {"limits": {"store": {"redis": store}}}
            names = [tmp_path / f"gateway-{number}" for number in range(count)]
            each = (Gateway(name, shared, access, OWN) for name in names)
            return [started.enter_context(gateway) for gateway in each]

        yield start


def call(gateway: Gateway, token: str) -> plain.Answer:
    bearer = {"authorization": f"Bearer {token}"}
    return plain.call(gateway.address, "POST", INVOKE, b"hi", bearer)


def statuses(gateway: Gateway, token: str, count: int) -> list[int]:
    return [call(gateway, token).status for _ in range(count)]


def mode(gateway: Gateway) -> str:
    (current,) = [
        name for name, on in by_label(gateway.metrics(), "sagegate_limit_mode", "mode").items() if on
    ]
    return current


def is_shared(gateway: Gateway) -> None:
    wait_for("the store to be in use", lambda: mode(gateway) == "shared")


def errors(gateway: Gateway, kind: str) -> float:
    return total(gateway.metrics(), "sagegate_limit_store_errors_total", kind=kind)


def waits(gateway: Gateway) -> tuple[float, float]:
    page = gateway.metrics()
    name = "sagegate_limit_lease_wait_seconds"
    return total(page, f"{name}_count"), total(page, f"{name}_sum")


class Caller(threading.Thread):
    """Calls one gateway at a steady pace until told to stop, and counts the answers."""

    def __init__(self, gateway: Gateway, token: str, per_second: float, until: float) -> None:
        super().__init__(daemon=True)
        self._address, self._pause, self._until = gateway.address, 1 / per_second, until
        self._headers = {"authorization": f"Bearer {token}"}
        self.answers: dict[int, int] = {}

    def run(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=10)
        due = time.monotonic()
        while time.monotonic() < self._until:
            connection.request("POST", INVOKE, b"hi", self._headers)
            with contextlib.closing(connection.getresponse()) as response:
                response.read()
            self.answers[response.status] = self.answers.get(response.status, 0) + 1
            due = max(due + self._pause, time.monotonic() - 0.1)
            time.sleep(max(0.0, due - time.monotonic()))
        connection.close()


def test_two_and_four_gateways_admit_together_what_one_may(
    start: Callable[..., list[Gateway]], redis: Redis, issuer: Issuer
) -> None:
    gateways = start(4, {"url": redis.url})
    for gateway in gateways:
        is_shared(gateway)
    begun = time.monotonic()
    until = begun + 5
    loads = {"two": gateways[:2], "four": gateways, "calm": gateways}
    callers = {
        team: [
            Caller(gateway, issuer.token(team), 20 if team == "calm" else 400 / len(on), until)
            for gateway in on
        ]
        for team, on in loads.items()
    }
    for caller in (one for team in callers.values() for one in team):
        caller.start()
    for caller in (one for team in callers.values() for one in team):
        caller.join()
    span = time.monotonic() - begun
    for team in ("two", "four"):
        answers = [caller.answers for caller in callers[team]]
        admitted = sum(of.get(200, 0) for of in answers)
        limit, slack = 40 + 40 * span, 0.05 * (40 + 40 * 10)
        assert sum(sum(of.values()) for of in answers) > 3 * limit, "hardly overloaded"
        assert limit * 0.95 - slack <= admitted <= limit + slack, f"{team}: {admitted} of {limit}"
        assert set().union(*answers) == {200, 429}
    # Nobody of another team noticed.
    assert set().union(*(caller.answers for caller in callers["calm"])) == {200}


def test_what_is_used_now_is_told_and_asking_uses_nothing(
    start: Callable[..., list[Gateway]], issuer: Issuer, redis: Redis
) -> None:
    (gateway,) = start(1, {"url": redis.url})
    is_shared(gateway)

    def used(team: str) -> list[str]:
        told = gateway.command("limits", "--team", team)
        assert told.returncode == 0, told.stderr
        heads, *rows = told.stdout.splitlines()
        place = heads.index("USED") + len("USED")
        return [row[:place].split()[-1] for row in rows]

    assert used("daily") == ["0"]
    assert statuses(gateway, issuer.token("daily"), 3) == [200] * 3
    # What is leased and not spent counts as used.
    leased = int(*used("daily"))
    assert 3 <= leased <= 60
    assert [used("daily") for _ in range(5)] == [[str(leased)]] * 5
    assert used("calm") == ["0", "0"]

    redis.kill()
    unknown = gateway.command("limits", "--team", "daily")
    assert (unknown.returncode, "60 requests a day" in unknown.stdout) == (1, True)
    assert unknown.stderr.startswith("error: what is used is not known: the limit store cannot be asked")
    redis.start()


def test_a_killed_gateways_slots_return(
    start: Callable[..., list[Gateway]], redis: Redis, issuer: Issuer, held: threading.Event
) -> None:
    doomed, other = start(2, {"url": redis.url})
    is_shared(doomed)
    is_shared(other)
    token = issuer.token("slots")
    bearer = {"authorization": f"Bearer {token}"}
    with contextlib.ExitStack() as open_streams:
        for _ in range(4):
            stream = plain.opened(doomed.address, "POST", DRIP, b"a stream of parts", bearer)
            response = open_streams.enter_context(stream)
            assert (response.status, response.read1() != b"") == (200, True)
        assert call(doomed, token).status == 429
        assert call(other, token).status == 429
        doomed.kill()
        died = time.monotonic()
        wait_for("the slots to return", lambda: call(other, token).status == 200)
        assert time.monotonic() - died < 6
    held.set()


def test_a_slow_store_delays_one_request_by_its_timeout_and_none_after_it(
    start: Callable[..., list[Gateway]], redis: Redis, issuer: Issuer
) -> None:
    (gateway,) = start(1, {"url": redis.url})
    is_shared(gateway)
    token = issuer.token("calm")
    redis.call("CLIENT", "PAUSE", "1500", "ALL")
    count, spent = waits(gateway)
    assert statuses(gateway, token, 20) == [200] * 20
    after, total_spent = waits(gateway)
    assert after - count <= 1
    assert total_spent - spent < TIMEOUT + LATE
    assert (mode(gateway), errors(gateway, "timeout") > 0) == ("local", True)
    is_shared(gateway)
    assert statuses(gateway, token, 3) == [200] * 3


def test_a_store_that_dies_leaves_the_last_share_and_one_that_comes_back_empty_is_told(
    start: Callable[..., list[Gateway]], redis: Redis, issuer: Issuer
) -> None:
    one, other = start(2, {"url": redis.url})
    is_shared(one)
    is_shared(other)
    few, daily = issuer.token("few"), issuer.token("daily")
    assert statuses(one, few, 3) == [200, 200, 429]
    assert statuses(one, daily, 20) + statuses(other, daily, 20) == [200] * 40
    redis.kill()
    wait_for("the end of the store to be noticed", lambda: mode(one) == mode(other) == "local")
    assert errors(one, "connection") > 0
    page = one.metrics()
    promised = ("decisions_total", "mode", "lease_requests_total", "lease_held")
    assert [name for name in promised if f"\nsagegate_limit_{name}{{" not in page] == ["lease_held"]
    assert "\nsagegate_limit_lease_held " in page
    # What was used up stays used up, and nobody waits for a store that is gone.
    count, _ = waits(one)
    assert call(one, few).status == 429
    assert waits(one)[0] == count
    redis.start()
    is_shared(one)
    is_shared(other)
    assert call(one, few).status == 429
    got = statuses(one, daily, 30) + statuses(other, daily, 30)
    # A hundredth of the quota may have been on its way to each gateway.
    assert 18 <= got.count(200) <= 22
    assert set(got) == {200, 429}


def test_a_full_store_is_a_failed_one(
    start: Callable[..., list[Gateway]], redis: Redis, issuer: Issuer
) -> None:
    (gateway,) = start(1, {"url": redis.url})
    is_shared(gateway)
    redis.call("CONFIG", "SET", "maxmemory", "1")
    wait_for("the store to be full", lambda: mode(gateway) == "local")
    assert errors(gateway, "refused") > 0
    assert call(gateway, issuer.token("calm")).status == 200
    redis.call("CONFIG", "SET", "maxmemory", "0")
    is_shared(gateway)


def test_a_flushed_store_and_a_read_only_one_are_noticed(
    start: Callable[..., list[Gateway]], redis: Redis, issuer: Issuer
) -> None:
    (gateway,) = start(1, {"url": redis.url})
    is_shared(gateway)
    token = issuer.token("few")
    assert statuses(gateway, token, 3) == [200, 200, 429]
    redis.call("FLUSHALL")
    redis.call("SCRIPT", "FLUSH")
    # Wait for an ask to have reached the emptied store.
    wait_for("the level to be told", lambda: call(gateway, token).status == 429 and keys(redis))
    # What a failover leaves behind: the old master, as somebody's replica.
    redis.call("REPLICAOF", "127.0.0.1", "1")
    wait_for("the replica to be noticed", lambda: mode(gateway) == "local")
    assert errors(gateway, "refused") > 0
    redis.call("REPLICAOF", "NO", "ONE")
    is_shared(gateway)


def keys(redis: Redis) -> bool:
    return any("team:few" in key for key in redis.call("KEYS", "*requests*"))


def test_one_slow_answer_lifts_no_limit(
    start: Callable[..., list[Gateway]], redis: Redis, issuer: Issuer
) -> None:
    (gateway,) = start(1, {"url": redis.url, "on_failure": "open"})
    is_shared(gateway)
    token = issuer.token("few")
    assert statuses(gateway, token, 3) == [200, 200, 429]
    # Long enough for a call to fail, and over before the first probe has to be answered in time.
    redis.call("CLIENT", "PAUSE", "40", "ALL")
    assert call(gateway, issuer.token("calm")).status == 200
    assert errors(gateway, "timeout") == 1
    until = time.monotonic() + 1
    modes, answers = set(), set()
    while time.monotonic() < until:
        modes.add(mode(gateway))
        answers.add(call(gateway, token).status)
    assert (answers, modes - {"local", "shared"}) == ({429}, set())
    is_shared(gateway)


@pytest.mark.parametrize(("on_failure", "status"), [("open", 200), ("closed", 503)])
def test_without_a_store_open_admits_all_and_closed_nothing(
    start: Callable[..., list[Gateway]],
    redis: Redis,
    issuer: Issuer,
    on_failure: str,
    status: int,
) -> None:
    (gateway,) = start(1, {"url": redis.url, "on_failure": on_failure})
    is_shared(gateway)
    redis.kill()
    wait_for("the end of the store to be noticed", lambda: mode(gateway) == on_failure)
    answers = [call(gateway, issuer.token("few")) for _ in range(4)]
    assert [answer.status for answer in answers] == [status] * 4
    if status == 503:
        assert (answers[0].code, answers[0].headers["retry-after"]) == ("ServiceUnavailable", "1")


@pytest.mark.parametrize("lags", [False, True])
def test_a_replica_that_takes_over_at_the_same_address_admits_no_more(
    start: Callable[..., list[Gateway]],
    redis: Redis,
    tmp_path: Path,
    issuer: Issuer,
    lags: bool,
) -> None:
    daily, slots = issuer.token("daily"), issuer.token("slots")
    with Redis(tmp_path / "replica") as replica:
        replica.follow(redis)
        gateways = start(2, {"url": redis.url})
        for gateway in gateways:
            is_shared(gateway)
            assert statuses(gateway, daily, 10) == [200] * 10
        if lags:
            replica.call("REPLICAOF", "NO", "ONE")
        for gateway in gateways:
            assert statuses(gateway, daily, 15) == [200] * 15
        if not lags:
            redis.call("WAIT", "1", "1000")
        redis.kill()
        for gateway in gateways:
            wait_for("the end to be noticed", lambda one=gateway: mode(one) == "local")
        asked = replica.calls("evalsha")
        replica.take_over(redis)
        for gateway in gateways:
            is_shared(gateway)
        # Nobody asks more often because there was a failover.
        assert replica.calls("evalsha") - asked < 20
        got = statuses(gateways[0], daily, 20) + statuses(gateways[1], daily, 20)
        # 50 of 60 are gone; what was leased and not spent may have gone with the master. What
        # each gateway took last, a replica that lagged learns from that gateway alone: until
        # then a hundredth of the quota may be granted again.
        assert 6 <= got.count(200) <= (12 if lags else 10)
        assert set(got) == {200, 429}
        assert statuses(gateways[0], slots, 2) == [200, 200]


def test_a_cluster_goes_on_with_the_replica_of_a_node_that_died(
    start: Callable[..., list[Gateway]], tmp_path: Path, issuer: Issuer
) -> None:
    daily = issuer.token("daily")
    clustered = ("--cluster-enabled", "yes")
    with (
        Redis(tmp_path / "master", *clustered) as master,
        Redis(tmp_path / "replica", *clustered) as replica,
    ):
        _one_shard(master, replica)
        gateways = start(2, {"url": master.url, "cluster": True})
        for gateway in gateways:
            is_shared(gateway)
            assert statuses(gateway, daily, 20) == [200] * 20
        master.call("WAIT", "1", "1000")
        master.kill()
        for gateway in gateways:
            wait_for("the end to be noticed", lambda one=gateway: mode(one) == "local")
            assert call(gateway, issuer.token("calm")).status == 200
        # What the other masters of a larger cluster would have voted for.
        replica.call("CLUSTER", "FAILOVER", "TAKEOVER")
        # The node of the URL stays dead.
        for gateway in gateways:
            is_shared(gateway)
        got = statuses(gateways[0], daily, 30) + statuses(gateways[1], daily, 30)
        assert 16 <= got.count(200) <= 20
        assert set(got) == {200, 429}


def _one_shard(master: Redis, replica: Redis) -> None:
    master.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
    replica.call("CLUSTER", "MEET", "127.0.0.1", str(master.port))
    name = master.call("CLUSTER", "MYID")
    wait_for("the nodes to meet", lambda: name in replica.call("CLUSTER", "NODES"))
    for node in (master, replica):
        wait_for("the cluster", lambda node=node: "cluster_state:ok" in node.call("CLUSTER", "INFO"))
    replica.call("CLUSTER", "REPLICATE", name)
    replica.synced()
    port = str(replica.port)
    wait_for("the news to spread", lambda: port in str(master.call("CLUSTER", "SLOTS")))


def test_valkey_serves_as_well(
    start: Callable[..., list[Gateway]], tmp_path: Path, issuer: Issuer
) -> None:
    with Redis(tmp_path / "valkey", binary=VALKEY) as valkey:
        assert "valkey_version:" in valkey.call("INFO", "server")
        gateways = start(2, {"url": valkey.url})
        for gateway in gateways:
            is_shared(gateway)
        few, daily = issuer.token("few"), issuer.token("daily")
        assert statuses(gateways[0], few, 3) == [200, 200, 429]
        assert call(gateways[1], few).status == 429
        for gateway in gateways:
            assert call(gateway, issuer.token("slots")).status == 200
        got = [status for gateway in gateways for status in statuses(gateway, daily, 40)]
        assert 58 <= got.count(200) <= 60
        valkey.kill()
        wait_for("the end to be noticed", lambda: mode(gateways[0]) == "local")
        valkey.start()
        is_shared(gateways[0])


def test_a_cluster_and_a_server_with_tls_a_password_and_client_certificates_serve_as_well(
    start: Callable[..., list[Gateway]], tmp_path: Path, issuer: Issuer
) -> None:
    password = "a-password-of-the-store"
    certificates = _certificates(tmp_path / "tls")
    with (
        Redis(tmp_path / "cluster", "--cluster-enabled", "yes") as cluster,
        Redis(tmp_path / "locked", "--requirepass", password, tls=certificates) as locked,
    ):
        cluster.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        wait_for("the cluster", lambda: "cluster_state:ok" in cluster.call("CLUSTER", "INFO"))
        secured = f"rediss://:{password}@localhost:{locked.port}"
        anonymous = {"ca": str(certificates / "ca.crt")}
        known = anonymous | {
            "certificate": str(certificates / "client.crt"),
            "private_key": str(certificates / "client.key"),
        }
        (clustered,) = start(1, {"url": cluster.url, "cluster": True})
        (encrypted,) = start(1, {"url": secured, "tls": known})
        (stranger,) = start(1, {"url": secured, "tls": anonymous})
        for gateway in (clustered, encrypted):
            is_shared(gateway)
            assert statuses(gateway, issuer.token("few"), 3) == [200, 200, 429]
        assert locked.call("DBSIZE", password=password) > 0
        assert mode(stranger) == "local"
        for gateway in (encrypted, stranger):
            assert password not in gateway.everything_written()


def _certificates(directory: Path) -> Path:
    """An authority, and a server's and a client's certificate for localhost."""
    directory.mkdir()
    authority, pem = "a test's authority", serialization.Encoding.PEM
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = _certificate(authority, ca_key, authority, ca_key, True)
    (directory / "ca.crt").write_bytes(ca.public_bytes(pem))
    for name in ("server", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate("localhost", key, authority, ca_key, False)
        (directory / f"{name}.crt").write_bytes(certificate.public_bytes(pem))
        plain_key = key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (directory / f"{name}.key").write_bytes(plain_key)
    return directory


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    signer: ec.EllipticCurvePrivateKey,
    is_ca: bool,
) -> x509.Certificate:
    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    return builder.sign(signer, hashes.SHA256())
