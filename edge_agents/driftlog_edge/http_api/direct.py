"""A request that is as its route declares it, read without the framework's general way.

That way asks anew with each request what a route declares, and costs several times what most commands do. Here it is asked once, when the
route is made. What a value must be is said by the same validators, and the same function answers. A request that has anything wrong or
unusual about it goes the general way from its beginning, so every refusal is the framework's, too; and a route that declares what is not known
here always does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from fastapi import Request, params
from fastapi.datastructures import DefaultPlaceholder
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from driftlog_edge.http_api.bodies import BODY
from driftlog_schemas.contract import InvalidInput

if TYPE_CHECKING:
    from fastapi._compat import ModelField  # only its name: the routes give the fields


async def as_declared(request: Request) -> None:
    """A query and headers have what the route declares, each once. Raises `InvalidInput`.

    None is a list: of one that comes twice nobody knows which is meant. A name that is not known may be a slip in one that asks for more than the
    default, as `consistancy=strong` does; answered as if nothing had been asked for, its caller would believe that it got that.
    """
    route: APIRoute = request.scope["route"]
    known = [field.alias for field in route.dependant.query_params]
    names = [name for name, _ in request.query_params.multi_items()]
    for name in names:
        if name not in known:
            raise InvalidInput(name, f"no parameter of this query; it has {', '.join(known) or 'none'}")
    headers = [field.alias for field in route.dependant.header_params]
    names += [name.title() for name in headers for _ in request.headers.getlist(name)]
    for name in names:
        if names.count(name) > 1:
            raise InvalidInput(name, f"{name} is given more than once; give it once")


class DirectRoute(APIRoute):
    """A route that is read directly where that can be."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **declared: Any) -> None:
        super().__init__(path, endpoint, **declared)
        if _known(self):
            self.app = Direct(self, self.app)


class _Unusual(Exception):
    """Of this request the general way has to say what it means, or what is wrong with it."""


class Direct:
    """ASGI: the requests of one route; `general` is the framework's own way for all of them."""

    def __init__(self, route: APIRoute, general: ASGIApp) -> None:
        declared, answer = route.dependant, route.response_field
        assert answer is not None, "a route that answers with a model"
        self.general = general
        self._endpoint = route.endpoint
        self._path = {field.name: field for field in declared.path_params}
        self._query = {field.alias: field for field in declared.query_params}
        self._headers = {field.name.replace("_", "-").encode(): field for field in declared.header_params}
        self._body = declared.body_params[0] if declared.body_params else None
        self._required = {
            field.name for field in (*declared.query_params, *declared.header_params) if field.field_info.is_required()
        }
        self._told = partial(
            answer.serialize_json,
            by_alias=route.response_model_by_alias,
            exclude_unset=route.response_model_exclude_unset,
            exclude_defaults=route.response_model_exclude_defaults,
            exclude_none=route.response_model_exclude_none,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            values = dict(self._values(scope))
            if not self._required <= values.keys():
                raise _Unusual
        except _Unusual:
            await self.general(scope, receive, send)
            return
        answer = await self._endpoint(**values)
        if isinstance(answer, Response):  # it is told in the function's own way
            await answer(scope, receive, send)
            return
        told = self._told(answer)
        headers = [(b"content-length", str(len(told)).encode()), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": told})

    def _values(self, scope: Scope) -> Iterator[tuple[str, Any]]:
        """What was given, by parameter; what was not has the function's own default."""
        for name, text in scope["path_params"].items():
            yield name, _valid(self._path[name], text)
        if query := scope["query_string"]:
            yield from _once(self._query, parse_qsl(query.decode("latin-1"), keep_blank_values=True), str)
        if self._headers:
            given = ((name, value) for name, value in scope["headers"] if name in self._headers)
            yield from _once(self._headers, given, lambda value: value.decode("latin-1"))
        if self._body is not None:
            yield self._body.name, _valid(self._body, _parsed(scope.get(BODY, b"")))


def _once(fields: Mapping[Any, ModelField], given: Any, text_of: Callable[[Any], str]) -> Iterator[tuple[str, Any]]:
    seen = set()
    for name, value in given:
        if name in seen:
            raise _Unusual
        seen.add(name)
        if (field := fields.get(name)) is None:
            raise _Unusual
        yield field.name, _valid(field, text_of(value))


def _valid(field: ModelField, given: Any) -> Any:
    value, errors = field.validate(given)
    if errors:
        raise _Unusual
    return value


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise _Unusual from None


def _known(route: APIRoute) -> bool:
    """Does it declare nothing but what is understood here?"""
    declared = route.dependant
    others = (
        declared.cookie_params,
        declared.request_param_name,
        declared.http_connection_param_name,
        declared.response_param_name,
        declared.background_tasks_param_name,
        [one for one in declared.dependencies if one.call is not as_declared],
        route.status_code,
        route.response_model_include,
        route.response_model_exclude,
    )
    bodies = [field.field_info for field in declared.body_params]
    return (
        not any(others)
        and len(bodies) <= 1
        and all(type(body) is params.Body and not body.embed for body in bodies)
        and iscoroutinefunction(route.endpoint)
        and isinstance(route.response_class, DefaultPlaceholder)
        and route.response_field is not None
    )
