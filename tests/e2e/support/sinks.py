"""Where the record is shipped to: AWS's services by moto, behind a door, and a log collector.

moto does not look at signatures, so the door before it does, with botocore's code; it is
also what a test shuts for an outage, for moto forgets everything when it ends.
"""

import gzip
import http.client
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
from botocore.client import BaseClient
from botocore.credentials import Credentials

from support import signature
from support.gateway import free_address
from support.process import bare_environment, end, wait_for
from support.signature import Received

GROUP, STREAM, BUCKET, DELIVERED = "/sagegate/audit", "gw-e2e", "acme-audit", "acme-delivered"
FIREHOSE = "sagegate-audit"
# The equals sign must be encoded in the path and in the signature, or S3 would refuse.
PREFIX = "team=ml/"


class _Server(ThreadingHTTPServer):
    daemon_threads = True


class _Served:
    """A server of this process, on a free port of loopback."""

    def __init__(self) -> None:
        self.server = _Server(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def _handler(served) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = tuple((name.lower(), value) for name, value in self.headers.items())
                answer = served.answer(Received(self.command, self.path, headers, body))
                if answer is None:
                    self.close_connection = True
                    return
                status, body = answer
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_PUT = do_POST

            def log_message(self, *_: object) -> None:
                pass

        return Handler


class Door(_Served):
    """Lets signed calls through to moto. `mode`: open, shut, or mute: in, and no answer."""

    def __init__(self, address: str, credentials: Credentials, region: str) -> None:
        super().__init__()
        self.mode, self.faults = "open", []
        self._address, self._credentials, self._region = address, credentials, region

    def answer(self, request: Received) -> tuple[int, bytes] | None:
        if self.mode == "shut":
            return None
        scope = request.header("authorization").split("Credential=")[1].split("/")
        self.faults += signature.faults(request, self._credentials, self._region, scope[3])
        connection = http.client.HTTPConnection(self._address, timeout=30)
        connection.request(request.method, request.path, request.body, dict(request.headers))
        answered = connection.getresponse()
        status, body = answered.status, answered.read()
        connection.close()
        return None if self.mode == "mute" else (status, body)


class Moto:
    """CloudWatch Logs, Firehose and S3 in one process, with what the sinks need in them."""

    def __init__(self, directory: Path, region: str) -> None:
        self._log, self.address, self._region = directory / "moto.log", free_address(), region

    def __enter__(self) -> "Moto":
        host, port = self.address.split(":")
        command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", host, "-p", port]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, env=bare_environment(), stdout=log, stderr=subprocess.STDOUT
            )
        try:
            wait_for("moto to listen", self._listens)
            self._furnish()
        except Exception:
            end(self._process)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        end(self._process)

    def _listens(self) -> bool:
        try:
            connection = http.client.HTTPConnection(self.address, timeout=5)
            connection.request("GET", "/moto-api/data.json")
            connection.getresponse().read()
            connection.close()
        except OSError:
            return False
        return True

    def client(self, service: str) -> BaseClient:
        return boto3.Session().client(
            service,
            region_name=self._region,
            endpoint_url=f"http://{self.address}",
            aws_access_key_id="AKIDMOTO",
            aws_secret_access_key="any",
        )

    def _furnish(self) -> None:
        self.client("logs").create_log_group(logGroupName=GROUP)
        store = self.client("s3")
        for bucket in (BUCKET, DELIVERED):
            store.create_bucket(Bucket=bucket)
        self.client("firehose").create_delivery_stream(
            DeliveryStreamName=FIREHOSE,
            ExtendedS3DestinationConfiguration={
                "RoleARN": "arn:aws:iam::123456789012:role/delivery",
                "BucketARN": f"arn:aws:s3:::{DELIVERED}",
            },
        )

    def logged(self) -> list[str]:
        """The lines in CloudWatch Logs; none while the stream is not there."""
        client, lines, page = self.client("logs"), [], {}
        if not client.describe_log_streams(logGroupName=GROUP)["logStreams"]:
            return []
        while True:
            answer = client.get_log_events(
                logGroupName=GROUP, logStreamName=STREAM, startFromHead=True, **page
            )
            if not answer["events"]:
                return lines
            lines += [event["message"] for event in answer["events"]]
            page = {"nextToken": answer["nextForwardToken"]}

    def objects(self, bucket: str) -> dict[str, bytes]:
        store = self.client("s3")
        pages = store.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
        return {key: store.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}

    def stored(self) -> list[str]:
        """The lines in the S3 sink's objects."""
        objects = self.objects(BUCKET).values()
        return [line for body in objects for line in gzip.decompress(body).decode().splitlines()]

    def delivered(self) -> list[str]:
        """The lines that Firehose delivered."""
        objects = self.objects(DELIVERED).values()
        return [line for body in objects for line in body.decode().splitlines()]


class Collector(_Served):
    """An OTLP/HTTP log collector. It takes what the specification's JSON encoding allows and
    nothing else. `mode`: good, down (503), hanging, or picky: takes all but the first."""

    def __init__(self, authorization: str) -> None:
        super().__init__()
        self.mode, self.records, self.faults = "good", [], []
        self._authorization = authorization
        self.released = threading.Event()

    def answer(self, request: Received) -> tuple[int, bytes] | None:
        if self.mode == "hanging":
            self.released.wait(60)
            return None
        if self.mode == "down":
            return 503, b"down for maintenance"
        try:
            records = self._parsed(request)
        except (AssertionError, KeyError, ValueError) as fault:
            self.faults.append(repr(fault))
            return 400, b"bad data"
        rejected = records[:1] if self.mode == "picky" else []
        self.records += records[len(rejected) :]
        partial = {"rejectedLogRecords": str(len(rejected)), "errorMessage": "not the first"}
        return 200, json.dumps({"partialSuccess": partial} if rejected else {}).encode()

    def _parsed(self, request: Received) -> list[dict]:
        assert (request.method, request.path) == ("POST", "/v1/logs")
        assert request.header("content-type") == "application/json"
        assert request.header("authorization") == self._authorization
        (resource,) = json.loads(request.body)["resourceLogs"]
        named = {a["key"]: a["value"]["stringValue"] for a in resource["resource"]["attributes"]}
        assert named["service.name"] == "sagegate", named
        (scope,) = resource["scopeLogs"]
        return [self._record(record) for record in scope["logRecords"]]

    def _record(self, record: dict) -> dict:
        for time in ("timeUnixNano", "observedTimeUnixNano"):
            # 64-bit numbers are texts in protobuf's JSON.
            assert isinstance(record[time], str) and 10**18 < int(record[time]) < 2**63
        assert 1 <= record["severityNumber"] <= 24
        attributes = {a["key"]: a["value"]["stringValue"] for a in record["attributes"]}
        line = record["body"]["stringValue"]
        assert attributes["log.record.uid"] == json.loads(line)["metadata"]["uid"]
        return {"line": line, "severity": record["severityNumber"]}

    def collected(self) -> list[str]:
        return [record["line"] for record in self.records]
