"""Keys, certificates and tokens of one cluster, made by openssl in a folder of its own."""
import os
import secrets
import subprocess

DAYS = "30"
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
MASTERS = "system:masters"
# name of a kubeconfig: (user, groups).  Nobody but the first may do a thing before it is granted.
IDENTITIES = {
    "admin": ("admin", MASTERS),
    "controllers": ("system:kube-controller-manager", MASTERS),
    "scheduler": ("system:kube-scheduler", MASTERS),
    "tenant": ("tenant", "tenants"),
    "guest": ("guest", "guests"),
}


def openssl(*arguments):
    run = subprocess.run(["openssl", *arguments], text=True, check=False,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if run.returncode != 0:
        raise RuntimeError(f"openssl {' '.join(arguments)} failed:\n{run.stdout}")


class Pki:
    """The files under one folder: ca, server, client and accounts, each .crt and .key."""

    def __init__(self, folder, addresses):
        self.folder = folder
        os.makedirs(folder, mode=0o700)
        openssl("req", "-x509", "-days", DAYS, *NEW_KEY, "-subj", "/CN=test cluster",
                "-keyout", self.path("ca.key"), "-out", self.path("ca.crt"))
        names = ["DNS:localhost", "DNS:kubernetes", "DNS:kubernetes.default",
                 "DNS:kubernetes.default.svc", *(f"IP:{a}" for a in addresses)]
        self.sign("server", "/CN=kube-apiserver", "serverAuth", names)
        self.sign("client", f"/O={MASTERS}/CN=kube-apiserver-kubelet-client", "clientAuth")
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout",
                "-out", self.path("accounts.key"))
        self.tokens = {}

    def path(self, name):
        return os.path.join(self.folder, name)

    def sign(self, name, subject, use, alternatives=()):
        """Makes NAME.key and NAME.crt, signed by the cluster's authority."""
        extensions = ["-addext", f"extendedKeyUsage={use}"]
        if alternatives:
            extensions += ["-addext", f"subjectAltName={','.join(alternatives)}"]
        openssl("req", "-x509", "-days", DAYS, *NEW_KEY, "-subj", subject, *extensions,
                "-CA", self.path("ca.crt"), "-CAkey", self.path("ca.key"),
                "-keyout", self.path(name + ".key"), "-out", self.path(name + ".crt"))

    def write_tokens(self, nodes):
        """The server's file of tokens: the identities above and one for each node's kubelet."""
        identities = dict(IDENTITIES)
        identities.update({node: (f"system:node:{node}", "system:nodes") for node in nodes})
        with open(self.path("tokens.csv"), "w", encoding="utf-8") as f:
            for name, (user, group) in identities.items():
                self.tokens[name] = secrets.token_hex(16)
                f.write(f"{self.tokens[name]},{user},{user},{group}\n")
        return self.path("tokens.csv")
