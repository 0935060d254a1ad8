"""What the gateway under test is told: its own credentials, and who may call what."""

from botocore.credentials import Credentials

from support import provider

MAX_BODY = 1024 * 1024

# The gateway's own credentials, as a role's: with a session token.
OWN = Credentials("AKIDGATEWAY", "gateways-own-secret-key", "gateways//own+session/token==")

OPERATIONS = ["InvokeEndpoint", "InvokeEndpointWithResponseStream", "InvokeEndpointAsync"]

ACCESS = {
    "roles": {
        "caller": {
            "description": "May call the stand-in's models, and one that does not exist.",
            "permit": [
                {
                    "actions": OPERATIONS,
                    "endpoints": [
                        "echo",
                        "drip",
                        "broken",
                        "stream-*",
                        "model-*",
                        "throttled",
                        "gone",
                    ],
                }
            ],
        },
        "green-caller": {
            "description": "May call one production variant and no other.",
            "permit": [
                {
                    "actions": ["InvokeEndpoint"],
                    "endpoints": ["echo"],
                    "when": {"target_variants": ["green"]},
                }
            ],
        },
    },
    "bindings": [
        {"groups": ["corp/callers", f"certified/{provider.GROUP}"], "roles": ["caller"]},
        {"groups": ["corp/green"], "roles": ["green-caller"]},
    ],
    "teams": {
        "metered": {
            "groups": ["corp/metered"],
            "limits": [{"requests": "1/s", "burst": 2}],
        }
    },
    "revoked": {"users": ["corp/mallory"]},
}
