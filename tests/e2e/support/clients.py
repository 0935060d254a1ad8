"""AWS's own clients, unchanged: all they are told, they are told by their environment."""

import contextlib
import os
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import boto3
from botocore.client import BaseClient

from support.gateway import Gateway
from support.process import bare_environment

REGION = "us-east-1"
# Any key pair will do: the gateway does not look at the SDK's own signature.
CALLERS_SECRET = "callers-secret-that-is-of-no-use"


def sdk_environment(gateway: Gateway, token: str) -> dict[str, str]:
    return bare_environment(
        AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME=gateway.url,
        AWS_ACCESS_KEY_ID="AKIDCALLER",
        AWS_SECRET_ACCESS_KEY=CALLERS_SECRET,
        AWS_SESSION_TOKEN=token,
        AWS_DEFAULT_REGION=REGION,
        # One call is one record; the SDK's retries would make several of it.
        AWS_MAX_ATTEMPTS="1",
    )


@contextlib.contextmanager
def runtime(gateway: Gateway, token: str, attempts: int = 1) -> Iterator[BaseClient]:
    """boto3's client for SageMaker Runtime."""
    environment = sdk_environment(gateway, token) | {"AWS_MAX_ATTEMPTS": str(attempts)}
    with mock.patch.dict(os.environ, environment, clear=True):
        with contextlib.closing(boto3.Session().client("sagemaker-runtime")) as client:
            yield client


def aws(gateway: Gateway, token: str, *arguments: str) -> subprocess.CompletedProcess:
    """Runs the AWS CLI of this environment."""
    command = Path(sysconfig.get_path("scripts")) / "aws"
    return subprocess.run(
        [str(command), *arguments],
        env=sdk_environment(gateway, token) | {"AWS_PAGER": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
