"""What of the fleet a person sees: the devices that may write in one of their scopes, and of these nothing that names another scope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from driftlog_console.people import EVERYTHING, Person
from driftlog_streams.reading.fleet import Member


def seen_members(members: Sequence[Member], person: Person) -> Sequence[Member]:
    """Those of them that the person sees."""
    if EVERYTHING in person.scopes:
        return members
    return [narrowed(member, person) for member in members if sees(person, member)]


def sees(person: Person, member: Member) -> bool:
    """May the device write in a scope that the person sees?"""
    scopes = member.device.latest.scopes
    return EVERYTHING in scopes or EVERYTHING in person.scopes or any(person.sees(scope) for scope in scopes)


def narrowed(member: Member, person: Person) -> Member:
    """The same without other scopes by name, where it differs from the cloud."""
    heard = member.heard
    if heard is None or not heard.word.differing:
        return member
    # `space/partition/scope`
    differing = tuple(place for place in heard.word.differing if person.sees(place.split("/", 2)[-1]))
    return replace(member, heard=replace(heard, word=replace(heard.word, differing=differing)))
