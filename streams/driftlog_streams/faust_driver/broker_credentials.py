"""How Faust's client, which is aiokafka, is let in: the project's settings in Faust's own words.

Faust knows the protocol from the kind of credentials and whether there is a TLS context; `None` is a plain connection.
"""

from __future__ import annotations

from faust.auth import SASLCredentials, SSLCredentials
from faust.types.auth import CredentialsT

from driftlog_schemas.connection import KafkaSettings


def broker_credentials(kafka: KafkaSettings) -> CredentialsT | None:
    """What `App(broker_credentials=...)` is given. Raises `BadSetting`."""
    context = kafka.tls()
    if kafka.authenticated:
        return SASLCredentials(
            username=kafka.sasl_username,
            password=kafka.password(),
            mechanism=kafka.sasl_mechanism,
            ssl_context=context,
        )
    return None if context is None else SSLCredentials(context)
