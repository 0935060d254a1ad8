"""Every scenario: importing this registers them all."""

from scenarios import identity_provider  # noqa: F401
