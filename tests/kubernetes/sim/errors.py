"""What the API server refuses: each refusal as the Status object that a real server answers."""
import json

FIELD_REASONS = {
    "required": ("FieldValueRequired", "Required value"),
    "invalid": ("FieldValueInvalid", "Invalid value"),
    "type": ("FieldValueTypeInvalid", "Invalid value"),
    "forbidden": ("FieldValueForbidden", "Forbidden"),
    "unsupported": ("FieldValueNotSupported", "Unsupported value"),
    "too long": ("FieldValueTooLong", "Too long"),
    "too many": ("FieldValueTooMany", "Too many"),
    "duplicate": ("FieldValueDuplicate", "Duplicate value"),
}


class ApiError(Exception):
    """A refusal: HTTP code, reason, sentence and details of the Status, headers of the answer."""

    def __init__(self, code, reason, message, details=None, headers=None, metadata=None):
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.headers = headers or {}
        self.metadata = metadata or {}

    def status(self):
        """The Status object."""
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        }
        return {key: value for key, value in status.items() if value is not None}

    def body(self):
        """The Status as bytes."""
        return json.dumps(self.status(), separators=(",", ":")).encode() + b"\n"


def details_of(resource, name=None, kind=None, causes=None, retry=None):
    """The details of a Status about an object."""
    details = {
        "name": name,
        "group": resource.group or None,
        "kind": kind or resource.plural,
        "causes": causes,
        "retryAfterSeconds": retry,
    }
    return {key: value for key, value in details.items() if value is not None}


def not_found(resource, name):
    """404 for an object."""
    message = f'{resource.qualified} "{name}" not found'
    return ApiError(404, "NotFound", message, details_of(resource, name))


def no_such_path():
    """404 for a path that serves nothing."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(resource, name):
    """409 for a second creation."""
    message = f'{resource.qualified} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, details_of(resource, name))


def conflict(resource, name, why=None):
    """409 for a stale resourceVersion or a failed precondition."""
    why = why or ("the object has been modified; please apply your changes to the latest version"
                  " and try again")
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return ApiError(409, "Conflict", message, details_of(resource, name))


def forbidden(resource, name, why):
    """403 for what a rule or an admission plug-in refuses."""
    what = f'{resource.qualified} "{name}"' if name else resource.qualified
    return ApiError(403, "Forbidden", f"{what} is forbidden: {why}", details_of(resource, name))


def bad_request(message):
    """400 for a request that cannot be understood."""
    return ApiError(400, "BadRequest", message)


def expired(message, continue_token=None):
    """410 for history that is gone; a list's may carry a token to go on without consistency."""
    metadata = {"continue": continue_token} if continue_token else {}
    return ApiError(410, "Expired", message, metadata=metadata)


def too_large(version, current):
    """504 for a resourceVersion that the server has not reached."""
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    message = f"Timeout: Too large resource version: {version}, current: {current}"
    details = {"causes": [cause], "retryAfterSeconds": 1}
    return ApiError(504, "Timeout", message, details, {"Retry-After": "1"})


def unsupported_media(accepted):
    """415 for a content type that the resource does not take."""
    message = (f"the body of the request was in an unknown format - accepted media types include:"
               f" {', '.join(accepted)}")
    return ApiError(415, "UnsupportedMediaType", message)


def method_not_allowed():
    """405 for a verb that the resource lacks."""
    return ApiError(405, "MethodNotAllowed", "the server does not allow this method on the"
                    " requested resource", {})


def cause(kind, field, detail="", value=None):
    """One fault of a field: kind is a key of FIELD_REASONS."""
    reason, title = FIELD_REASONS[kind]
    text = title
    if kind in ("invalid", "type", "unsupported", "duplicate"):
        text += ": " + json.dumps(value)
    if detail:
        text += ": " + detail
    return {"reason": reason, "message": text, "field": field}


def invalid(resource, name, causes):
    """422 with the faults that `cause` made."""
    faults = [f"{c['field']}: {c['message']}" for c in causes]
    joined = faults[0] if len(faults) == 1 else "[" + ", ".join(faults) + "]"
    kind = resource.kind + (f".{resource.group}" if resource.group else "")
    details = details_of(resource, name, resource.kind, causes)
    return ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {joined}', details)
