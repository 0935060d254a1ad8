"""Every scenario: importing this registers them all."""

from scenarios import clock, crash, credentials, disk, identity_provider, sagemaker  # noqa: F401
