"""A real sshd and the ssh that reaches it, in the network of a daemon: own keys, own configuration, nobody's home.

Debian's openssh-server, or DIFYRING_SSHD=FILE. Its user and its /run/sshd are there in a mount namespace of its own."""
import os
import shutil
import subprocess
import time

PORT = 15022
START_SECONDS = 30
INSIDE = 'mount --bind "$1" /etc/passwd && mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && exec "$2" -D -e -f "$3"'


def program():
    return os.environ.get("DIFYRING_SSHD") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")


class Sshd:
    def __init__(self, folder, enter, env):
        folder.mkdir()
        folder.chmod(0o700)
        self.folder, self.process = folder, None
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        (folder / "authorized").write_text((folder / "user.pub").read_text())
        (folder / "known").write_text(f"there {(folder / 'host.pub').read_text()}")
        words = " ".join(f'"{name}={env[name]}"' for name in ("DOCKER_HOST", "DOCKER_CONFIG"))
        (folder / "config").write_text(f"""\
Port {PORT}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized
StrictModes no
UsePAM no
PasswordAuthentication no
PidFile none
SetEnv {words}
""")
        (folder / "client").write_text(f"""\
Host *
    HostName 127.0.0.1
    Port {PORT}
    HostKeyAlias there
    IdentityFile {folder}/user
    IdentitiesOnly yes
    UserKnownHostsFile {folder}/known
    GlobalKnownHostsFile none
    StrictHostKeyChecking yes
    BatchMode yes
""")
        with open("/etc/passwd", encoding="utf-8") as file:
            users = file.read()
        if "\nsshd:" not in users:
            users += "sshd:x:64999:65534::/run/sshd:/usr/sbin/nologin\n"
        (folder / "passwd").write_text(users)
        self.enter, self.command = list(enter), f"ssh -F '{folder}/client'"

    def start(self):
        with open(self.folder / "log", "w", encoding="utf-8") as log:
            self.process = subprocess.Popen([*self.enter, "setpriv", "--pdeathsig", "TERM", "unshare", "-m", "sh", "-c", INSIDE, "sh", self.folder / "passwd", program(),
                                             self.folder / "config"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while subprocess.run([*self.enter, "ssh", "-F", self.folder / "client", "root@there", "true"], capture_output=True, check=False).returncode != 0:
            assert self.process.poll() is None and time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.1)
        return self

    def stop(self):
        self.process.terminate()
        self.process.wait()
