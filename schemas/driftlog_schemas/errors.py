"""What the wire contract refuses, as one tree.

ContractError
├── Undecodable          bytes that are truncated, foreign or over a bound
├── TooBig               a batch or record over its limit, refused before it is sent
├── UnknownSchema        the schema is neither cached nor registered
├── RegistryUnreachable  the registry is needed (nothing cached) and does not answer
│   └── RegistryMadeAnew what answers no longer knows what it has said
├── Incompatible         the registry refuses a schema
├── TopicProblem         a topic is missing or not as it must be
├── BrokerUnreachable    no broker answers
├── BadSetting           a setting that cannot be used
├── IdentityProblem      an identity file that is missing, foreign or readable by others
└── LoadError            an app module that cannot be loaded
"""

from __future__ import annotations


class ContractError(Exception):
    """The fact, and in `remedy` the next step."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class Undecodable(ContractError):
    """Bytes that cannot be read."""


class TooBig(ContractError):
    """Something over its limit."""


class UnknownSchema(ContractError):
    """Neither cached nor registered."""


class RegistryUnreachable(ContractError):
    """Needed and not there."""


class RegistryMadeAnew(RegistryUnreachable):
    """It knows other schemas by the ids that stand in records: no better than one that is away."""


class Incompatible(ContractError):
    """A schema that would break readers."""


class TopicProblem(ContractError):
    """Missing, or with another partition count."""


class BrokerUnreachable(ContractError):
    """No broker answers at the address."""


class BadSetting(ContractError):
    """A setting that cannot be used; never tells what was given."""


class IdentityProblem(ContractError):
    """An identity file that is missing, foreign or readable by others."""


class LoadError(ContractError):
    """An app module that cannot be loaded."""
