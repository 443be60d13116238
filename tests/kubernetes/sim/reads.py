"""GET and LIST: versions, selectors, and pages that stay as they were when the first was read."""
import base64
import json

from . import errors, selectors
from .http import Response

PAGE_LOST = ("The provided continue parameter is too old to display a consistent list result. You"
             " can start a new list without the continue parameter, or use the continue token in"
             " this response to retrieve the remainder of the results. Continuing with the"
             " provided token results in an inconsistent list - objects that were created,"
             " modified, or deleted between the time the first chunk was returned and now may"
             " show up in the list.")


def version_of(text):
    """A resourceVersion as a number; 400 for anything else."""
    if not text.isdigit():
        raise errors.bad_request(f'resourceVersion: Invalid value: "{text}": strconv.ParseUint:'
                                 f' parsing "{text}": invalid syntax')
    return int(text)


def check_reached(world, text):
    """504 for a version that the server has not reached."""
    if text and version_of(text) > world.store.version:
        raise errors.too_large(text, world.store.version)


def get(world, target, query):
    """One object."""
    check_reached(world, query.get("resourceVersion", ""))
    item = find(world, target)
    return Response(200, item.json(target.resource) + b"\n")


def find(world, target):
    """The item of a target, or 404."""
    item = world.store.get(target.resource.key, target.namespace, target.name)
    if item is None:
        raise errors.not_found(target.resource, target.name)
    return item


class Page:
    """A list in its order at one version, and where a continue token goes on in it."""

    def __init__(self, version, entries, expires):
        self.version = version
        self.entries = entries
        self.expires = expires


def token_of(number, key, version):
    """A continue token: opaque to clients."""
    text = json.dumps({"v": "sim", "page": number, "after": key, "rv": version})
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_token(text):
    """The parts of a continue token."""
    try:
        parts = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return parts["page"], tuple(parts["after"]), parts["rv"]
    except (ValueError, KeyError, TypeError):
        raise errors.bad_request("continue key is not valid: invalid continue token") from None


def entries_of(world, target, selector, version=None):
    """[(key, item)] of the objects that a list is about, in the order of their keys."""
    shelf = world.store.shelves[target.resource.key]
    state = shelf.items if version is None else world.store.state_at(target.resource.key, version)
    chosen = [(key, item) for key, item in state.items()
              if (not target.namespace or key[0] == target.namespace)
              and (not selector or selector.accepts(item.body))]
    chosen.sort(key=lambda entry: entry[0])
    return chosen


def exact_version(world, query, limit):
    """The old version that a list asks for, or None for the newest state."""
    text, match = query.get("resourceVersion", ""), query.get("resourceVersionMatch", "")
    if match and not text:
        raise errors.bad_request("resourceVersionMatch is forbidden unless resourceVersion is"
                                 " provided")
    if match not in ("", "Exact", "NotOlderThan"):
        raise errors.bad_request(f'resourceVersionMatch: Unsupported value: "{match}"')
    check_reached(world, text)
    if not text or text == "0":
        if match == "Exact":
            raise errors.bad_request('resourceVersionMatch "exact" is forbidden for'
                                     " resourceVersion 0")
        return None
    if match == "Exact" or (not match and limit):
        version = version_of(text)
        if version < world.store.compacted:
            raise errors.expired("The resourceVersion for the provided list is too old.")
        return version
    return None


def continued(world, target, selector, token):
    """(version, entries after the token); 410 with a token to go on where the page is gone."""
    number, key, version = read_token(token)
    if version < 0:
        rest = [e for e in entries_of(world, target, selector) if e[0] > key]
        return world.store.version, rest
    page = world.pages.get(number)
    if page is None or page.version < world.store.compacted or page.expires < world.clock.now():
        world.pages.pop(number, None)
        raise errors.expired(PAGE_LOST, token_of(0, key, -1))
    return page.version, [e for e in page.entries if e[0] > key]


def remember(world, version, entries):
    """Keeps the rest of a list for its next pages; returns its number."""
    now = world.clock.now()
    for number in [n for n, page in world.pages.items() if page.expires < now]:
        del world.pages[number]
    number = world.random.getrandbits(48)
    world.pages[number] = Page(version, entries, now + world.config.continue_seconds)
    return number


def list_(world, target, query):
    """A list, or a page of it."""
    selector = selectors.Selector(target.resource, query)
    if target.name:
        selector.fields.append(lambda body: body["metadata"]["name"] == target.name)
    limit = int(query.get("limit") or 0)
    if query.get("continue"):
        if query.get("resourceVersion", "0") not in ("", "0"):
            raise errors.bad_request("specifying resource version is not allowed when using"
                                     " continue")
        version, entries = continued(world, target, selector, query["continue"])
    else:
        exact = exact_version(world, query, limit)
        version = exact or world.store.version
        entries = entries_of(world, target, selector, exact)
        if query.get("resourceVersion") == "0":
            limit = 0
    metadata = {"resourceVersion": str(version)}
    if limit and len(entries) > limit:
        rest = entries[limit:]
        entries = entries[:limit]
        number = remember(world, version, rest)
        metadata["continue"] = token_of(number, entries[-1][0], version)
        if not selector:
            metadata["remainingItemCount"] = len(rest)
    return Response(200, list_body(target.resource, metadata, [item for _, item in entries]))


def list_body(resource, metadata, items):
    """A list as bytes."""
    head = json.dumps({"kind": resource.kind + "List", "apiVersion": resource.api_version,
                       "metadata": metadata}, separators=(",", ":"))
    inside = b",".join(item.json(resource) for item in items)
    return head[:-1].encode() + b',"items":[' + inside + b"]}\n"
