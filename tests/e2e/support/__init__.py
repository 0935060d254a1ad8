"""What the tests stand on: SageMaker's stand-in, two issuers, the gateway's process, clients."""
