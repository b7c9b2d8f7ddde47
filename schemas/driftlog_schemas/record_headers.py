"""The headers of a record as confluent's client gives them.

A header's name is bytes in Kafka, and anybody may choose them; the client makes text of it. Where it is none the client gives a list with a hole in
it, over which the interpreter falls, and beside that an error. Whether a call looks for such an error depends on how it is made: a method that
is called often at one place is called without, and the error strikes somewhere else. So it is called by `methodcaller`, which always
looks, and only once: what has a hole must not be asked for again.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import methodcaller
from typing import cast

import structlog
from confluent_kafka import Message

from driftlog_schemas.groups import Headers

log = structlog.get_logger()

_headers = methodcaller("headers")


def headers_of(message: Message) -> Headers:
    """To be asked for once. A record whose headers cannot be read has none: nobody of ours wrote it."""
    try:
        return cast(Headers, _headers(message) or ())
    except (SystemError, UnicodeDecodeError) as error:
        log.warning("headers are not readable", topic=message.topic(), offset=message.offset(), error=str(error))
        return ()


def headers_of_each(messages: Sequence[Message]) -> list[Headers]:
    """Those of many messages of one class, without a call of ours for each. To be asked for once, like `headers_of`: a `map` looks for the error, too."""
    found: list[Headers | None] = []
    asking = map(type(messages[0]).headers, messages) if messages else iter(())
    while len(found) < len(messages):
        try:
            found.extend(asking)  # type: ignore[arg-type]  # the client's own type names bytes and None apart
        except (SystemError, UnicodeDecodeError) as error:  # what came before it is in the list
            message = messages[len(found)]
            log.warning("headers are not readable", topic=message.topic(), offset=message.offset(), error=str(error))
            found.append(())
    return [headers or () for headers in found]
