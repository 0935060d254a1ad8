"""Every scenario: importing this registers them all."""

from scenarios import (  # noqa: F401
    callers,
    clock,
    crash,
    credentials,
    disk,
    http2,
    identity_provider,
    operators,
    sagemaker,
)
