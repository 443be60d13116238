"""The volumes of a pod as folders: written as a kubelet does, swapped whole by a symbolic link."""
import os
import shutil

from . import fields

LINK = "..data"


def chosen(data, items):
    """{path: (bytes, mode)} of a source's data: all of it, or the items that it names."""
    if not items:
        return {key: (value, None) for key, value in data.items()}
    missing = [item["key"] for item in items if item["key"] not in data]
    if missing:
        raise fields.Missing(f"references non-existent config key: {missing[0]}")
    return {item["path"]: (data[item["key"]], item.get("mode")) for item in items}


def content(world, body, kind, source, token):
    """{path: (bytes, mode)} of a volume, or of one source of a projected one."""
    namespace = body["metadata"]["namespace"]
    if kind in ("secret", "configMap"):
        name = source.get("secretName") or source.get("name")
        plural = "secrets" if kind == "secret" else "configmaps"
        data = fields.data_of(world, plural, namespace, name, source.get("optional"))
        return chosen(data or {}, source.get("items") if data is not None else None)
    if kind == "downwardAPI":
        found = {}
        for item in source.get("items") or ():
            if "fieldRef" in item:
                value = fields.field(body, item["fieldRef"]["fieldPath"])
            else:
                value = fields.resource_field(body, {}, item["resourceFieldRef"])
            found[item["path"]] = (value.encode(), item.get("mode"))
        return found
    if kind == "serviceAccountToken":
        return {source["path"]: (token().encode(), None)}
    return {}


def projected(world, body, source, token):
    """{path: (bytes, mode)} of a projected volume."""
    found = {}
    for part in source.get("sources") or ():
        for kind, inner in part.items():
            found.update(content(world, body, kind, inner, token))
    return found


def written(volume):
    """(kind, source) of a volume that has files of ours, or None."""
    for kind in ("secret", "configMap", "downwardAPI", "projected"):
        if volume.get(kind) is not None:
            return kind, volume[kind]
    return None


def publish(folder, files, mode):
    """Puts files into a folder in one step: a new folder inside it, and a link that is swapped."""
    old = os.readlink(os.path.join(folder, LINK)) if os.path.islink(
        os.path.join(folder, LINK)) else None
    if old and same(os.path.join(folder, old), files):
        return
    number = 0
    while os.path.exists(os.path.join(folder, f"..{number}")):
        number += 1
    fresh = os.path.join(folder, f"..{number}")
    os.mkdir(fresh, 0o755)
    for path, (data, own_mode) in files.items():
        full = os.path.join(fresh, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as f:
            f.write(data)
        os.chmod(full, own_mode if own_mode is not None else mode)
    link = os.path.join(folder, "..next")
    os.symlink(f"..{number}", link)
    os.rename(link, os.path.join(folder, LINK))
    for top in {path.split("/")[0] for path in files}:
        visible = os.path.join(folder, top)
        if not os.path.islink(visible):
            os.symlink(f"{LINK}/{top}", visible)
    for name in os.listdir(folder):
        if not name.startswith("..") and name not in {path.split("/")[0] for path in files}:
            os.unlink(os.path.join(folder, name))
    if old:
        shutil.rmtree(os.path.join(folder, old))


def same(folder, files):
    """True when a folder has these files already."""
    have = {}
    for place, _, names in os.walk(folder):
        for name in names:
            full = os.path.join(place, name)
            with open(full, "rb") as f:
                have[os.path.relpath(full, folder)] = f.read()
    return have == {path: data for path, (data, _) in files.items()}


class Volumes:
    """The volumes of one pod under a folder of its own."""

    def __init__(self, world, folder, claims, token):
        self.world = world
        self.folder = folder
        self.claims = claims
        self.token = token
        self.paths = {}

    def refresh(self, body):
        """Writes the files that come from other objects as those are now."""
        for volume in body["spec"].get("volumes") or ():
            found = written(volume)
            if not found:
                continue
            kind, source = found
            path = self.place(volume["name"])
            if kind == "projected":
                files = projected(self.world, body, source, self.token)
            else:
                files = content(self.world, body, kind, source, self.token)
            publish(path, files, source.get("defaultMode", 0o644))

    def place(self, name):
        """The folder of a volume, made when it was not there."""
        path = os.path.join(self.folder, name)
        os.makedirs(path, exist_ok=True)
        os.chmod(path, 0o777)
        self.paths[name] = path
        return path

    def prepare(self, body):
        """Makes all volumes; raises Missing while something that they need is not there."""
        self.refresh(body)
        for volume in body["spec"].get("volumes") or ():
            name = volume["name"]
            if written(volume):
                continue
            if volume.get("hostPath") is not None:
                path = volume["hostPath"]["path"]
                if volume["hostPath"].get("type") == "DirectoryOrCreate":
                    os.makedirs(path, exist_ok=True)
                if not os.path.exists(path):
                    raise fields.Missing(f"hostPath {path} is not there")
                self.paths[name] = path
            elif volume.get("persistentVolumeClaim") is not None:
                self.paths[name] = self.claim(body, volume["persistentVolumeClaim"]["claimName"])
            else:
                self.place(name)

    def claim(self, body, name):
        """The folder of a claim, shared by all pods that name it."""
        namespace = body["metadata"]["namespace"]
        if self.world.store.get("persistentvolumeclaims", namespace, name) is None:
            raise fields.Missing(f'persistentvolumeclaim "{name}" not found')
        path = os.path.join(self.claims, namespace, name)
        os.makedirs(path, exist_ok=True)
        os.chmod(path, 0o777)
        return path
