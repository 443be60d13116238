"""A request to its answer: discovery, users, faults, and the verbs."""
import asyncio
import sys
import traceback

from . import errors, openapi, patches, reads, resources, special, store, target, watch, writes
from .http import Hangup, Response

CHANGES = {"create": writes.create, "update": writes.update, "patch": writes.patch,
           "delete": writes.delete, "deletecollection": writes.delete_collection}
HEALTH = ("/healthz", "/livez", "/readyz")
HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>\n"


class Api:
    """The handler of the server's port."""

    def __init__(self, world):
        self.world = world

    async def handle(self, request):
        """The answer to a request, faults and refusals included."""
        entry = self.world.journal.open({
            "method": request.method, "path": request.path, "query": request.query,
            "agent": request.headers.get("user-agent", ""),
            "type": request.headers.get("content-type", "")})
        try:
            answer = await self.route(request, entry)
        except errors.ApiError as error:
            entry["reason"] = error.reason
            answer = Response(error.code, error.body(), error.headers)
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            self.world.journal.errors.append(traceback.format_exc())
            traceback.print_exc(file=sys.stderr)
            answer = Response(500, errors.ApiError(500, "InternalError", repr(error)).body())
        entry["code"] = getattr(answer, "code", 200)
        return answer

    async def route(self, request, entry):
        """The answer to a request, or ApiError."""
        user = self.world.access.user_of(request)
        entry["user"] = user.name
        plain = self.plain(request, user)
        if plain is not None:
            return plain
        aim = target.find(self.world.registry, request)
        entry.update(aim.fields())
        fault = self.world.faults.take(aim.fields())
        if fault:
            entry["fault"] = fault["action"]
            early = await spoil(self.world, aim, fault)
            if early is not None:
                return early
        self.world.access.require(user, aim)
        self.note(aim, request, entry)
        return after(fault, self.verb(aim, request, fault))

    def plain(self, request, user):
        """Answers that need no resource: health, version, discovery, reviews."""
        if request.path in HEALTH:
            return Response(200, b"ok", kind="text/plain")
        if request.path == "/version":
            version = self.world.config.version
            major, minor = version.split(".")[:2]
            body = {"major": major, "minor": minor, "gitVersion": f"v{version}.0",
                    "platform": "linux/amd64"}
            return Response(200, store.encode(body))
        parts = [part for part in request.path.split("/") if part]
        if request.method == "POST" and len(parts) == 4 and parts[0] == "apis":
            if parts[3] in [name for name, _ in resources.REVIEWS.get(tuple(parts[1:3]), ())]:
                body = patches.decode(request.body)
                return Response(201, store.encode(special.review(self.world, user, body)))
        if request.method != "GET":
            return None
        registry = self.world.registry
        document = registry.document(parts) or openapi.document(registry, request.path)
        return Response(200, store.encode(document)) if document else None

    def verb(self, aim, request, fault):
        """Does what a request asks for."""
        function = special.handler_of(aim)
        if function:
            return function(self.world, aim, request)
        if aim.verb == "get":
            return reads.get(self.world, aim, request.query)
        if aim.verb == "list":
            return reads.list_(self.world, aim, request.query)
        if aim.verb == "watch":
            return watch.watch(self.world, aim, request.query, fault)
        return CHANGES[aim.verb](self.world, aim, request)

    def note(self, aim, request, entry):
        """Keeps the name of a created object, which its path has not."""
        if aim.verb == "create" and not aim.name:
            body = patches.decode(request.body)
            metadata = body.get("metadata") if isinstance(body, dict) else None
            metadata = metadata if isinstance(metadata, dict) else {}
            entry["name"] = metadata.get("name") or metadata.get("generateName", "")
            entry["dry"] = request.query.get("dryRun", "")


async def spoil(world, aim, fault):
    """What a fault does before the request is looked at; an answer, or None to go on."""
    action = fault["action"]
    if action == "hang":
        await asyncio.Event().wait()
    if action == "close":
        raise Hangup
    if action == "delay":
        await asyncio.sleep(fault["seconds"])
    if action == "too_large":
        raise errors.too_large(world.store.version + 1000, world.store.version)
    if action == "expired" and aim.verb != "watch":
        raise errors.expired("The provided continue parameter is too old to display a consistent"
                             " list result.")
    if action == "html":
        return Response(fault.get("code", 502), HTML, kind="text/html")
    if action == "status":
        raise status_fault(fault)
    return None


def status_fault(fault):
    """The ApiError of a fault with a code."""
    from .faults import REASONS

    code = fault.get("code", 500)
    headers = {}
    details = {}
    if "retry_after" in fault:
        headers["Retry-After"] = str(fault["retry_after"])
        details["retryAfterSeconds"] = fault["retry_after"]
    reason = fault.get("reason", REASONS.get(code, "InternalError"))
    return errors.ApiError(code, reason, fault.get("message", "injected"), details, headers)


def after(fault, answer):
    """What a fault does to the answer of a request that was carried out."""
    if fault and fault["action"] == "lost":
        raise Hangup
    if fault and fault["action"] == "cut" and isinstance(answer, Response):
        answer.cut = len(answer.encode()) // 2
    return answer
