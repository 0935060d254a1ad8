"""The AWS CLI, unchanged, through the gateway."""

import json
from pathlib import Path

from support.clients import aws
from support.gateway import Gateway
from support.issuer import Issuer

BODY = '{"inputs": "hi"}'


def _invoke(gateway: Gateway, token: str, out: Path) -> tuple[int, str, str]:
    done = aws(
        gateway,
        token,
        *("sagemaker-runtime", "invoke-endpoint"),
        *("--endpoint-name", "echo"),
        *("--content-type", "application/json"),
        *("--accept", "application/json"),
        *("--body", BODY),
        str(out),
    )
    return done.returncode, done.stdout, done.stderr


def test_invoke_endpoint(gateway: Gateway, token: str, tmp_path: Path) -> None:
    code, out, err = _invoke(gateway, token, tmp_path / "answer")
    assert (code, err) == (0, "")
    assert json.loads(out)["ContentType"] == "application/json"
    assert (tmp_path / "answer").read_text() == BODY


def test_a_refusal_names_its_code(gateway: Gateway, issuer: Issuer, tmp_path: Path) -> None:
    code, _, err = _invoke(gateway, issuer.token("strangers"), tmp_path / "answer")
    assert code != 0
    assert "AccessDeniedException" in err
    assert not (tmp_path / "answer").exists()
