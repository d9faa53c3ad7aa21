"""Certificates for tests, made by the openssl command.

    with Authority() as ca:
        pair = ca.pair("a", ["a.test"])          # {"certificate": path, "key": path}, as a configuration has it
"""

import os
import shutil
import subprocess
import tempfile
import time

EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
RSA = ["-newkey", "rsa:2048"]


def openssl(*arguments, folder):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


class Authority:
    """A CA in a folder of its own: `path` is its certificate."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="difyring-ca-")
        self.path = self.file("ca.crt")
        openssl("req", "-x509", "-nodes", *EC, "-keyout", "ca.key", "-out", "ca.crt", "-days", "30",
                "-subj", "/CN=ca", folder=self.folder)

    def file(self, name):
        return os.path.join(self.folder, name)

    def pair(self, name, hosts, kind=None, days=30):
        openssl("req", "-new", "-nodes", *(kind or EC), "-keyout", f"{name}.key", "-out", f"{name}.csr",
                "-subj", f"/CN={name}", folder=self.folder)
        with open(self.file("san"), "w", encoding="ascii") as file:
            file.write("subjectAltName=" + ",".join(f"DNS:{host}" for host in hosts) + "\n")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", str(days), "-extfile", "san", "-out", f"{name}.new", folder=self.folder)
        os.rename(self.file(f"{name}.new"), self.file(f"{name}.crt"))
        return {"certificate": self.file(f"{name}.crt"), "key": self.file(f"{name}.key")}

    def end_in(self, name, seconds):
        """The same pair again, with an end so near: `openssl x509` counts in days, `openssl ca` in seconds."""
        with open(self.file("ca.cnf"), "w", encoding="ascii") as file:
            file.write("[ca]\ndefault_ca=a\n[a]\ndatabase=index\nserial=serial\nnew_certs_dir=.\npolicy=p\nunique_subject=no\n"
                       "[p]\ncommonName=supplied\n")
        for made, text in (("index", ""), ("serial", "77\n")):
            with open(self.file(made), "w", encoding="ascii") as file:
                file.write(text)
        end = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + seconds))
        openssl("ca", "-batch", "-config", "ca.cnf", "-cert", "ca.crt", "-keyfile", "ca.key", "-md", "sha256", "-notext",
                "-extfile", "san", "-enddate", end, "-in", f"{name}.csr", "-out", f"{name}.crt", folder=self.folder)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        shutil.rmtree(self.folder)
