"""A collection as the merge sees it: the contract's parts that are asked per op, laid out for speed."""

from __future__ import annotations

from dataclasses import dataclass

from driftlog_crdt import DocumentType, Field
from driftlog_schemas.contract import CollectionContract, GuardContract, SpaceContract


@dataclass(frozen=True, slots=True)
class CollectionRules:
    """The type of a collection's documents, its guards, and the fields whose conflicts are told."""

    name: str
    document: DocumentType
    guards: tuple[GuardContract, ...]
    told: dict[str, Field]
    """field -> its declaration, where `on_conflict` is not `silent`"""


def rules_of(space: SpaceContract) -> dict[str, CollectionRules]:
    """The rules of every collection of a space."""
    return {name: _rules(space, collection) for name, collection in space.collections.items()}


def _rules(space: SpaceContract, collection: CollectionContract) -> CollectionRules:
    document = collection.document
    told = {name: field for name, field in document.fields.items() if field.on_conflict != "silent"}
    return CollectionRules(collection.name, document, tuple(space.guards.get(collection.name, ())), told)
