"""A server and a client of somebody else's benchmark: one run of both, and what the client printed."""
import os
import pathlib
import random
import shlex
import socket
import subprocess
import tempfile
import time

TIME_LIMIT = 120  # of a run


def free_port():
    """Below the ephemeral range, so that none of the programs' other sockets gets it first."""
    while True:
        port = random.randrange(10000, 30000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


def listens(port):
    """Whether a process of this machine listens on that port; asks without connecting to it."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in pathlib.Path(table).read_text(encoding="ascii").splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            if state == "0A" and int(local.rpartition(":")[2], 16) == port:
                return True
    return False


def tail(text):
    return text.strip()[-2000:] or "(it printed nothing)"


def on_core(core, argv):
    return ["taskset", "-c", str(core), *map(str, argv)]


class Server:
    """The server of a pair, on core 0, for the length of a run."""

    def __init__(self, argv, env):
        self.argv = shlex.join(map(str, argv))
        self.log = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen(on_core(0, argv), stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=subprocess.STDOUT, env=env)

    def printed(self):
        self.log.seek(0)
        return tail(self.log.read())

    def wait_until_it_listens(self, port, deadline):
        while not listens(port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.argv} does not listen on port {port}: {self.printed()}")
            time.sleep(0.02)

    def wait_until_it_ends(self, deadline):
        try:
            status = self.process.wait(max(1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            status = "not at all"
        if status != 0:
            raise RuntimeError(f"{self.argv} ended with {status}: {self.printed()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.log.close()


def run(server, client, port, env=None):
    """Runs both, the server on core 0 and the client on core 1; returns what the client printed.
    Raises RuntimeError with the program and what it printed when one of them fails or hangs."""
    env = {**os.environ, **(env or {})}
    deadline = time.monotonic() + TIME_LIMIT
    with Server(server, env) as running:
        running.wait_until_it_listens(port, deadline)
        try:
            output = finish(client, deadline, env)
        except RuntimeError as error:
            raise RuntimeError(f"{error}\nits server, {running.argv}, printed: "
                               f"{running.printed()}") from error
        running.wait_until_it_ends(deadline)
        return output


def finish(argv, deadline, env):
    command = shlex.join(map(str, argv))
    try:
        done = subprocess.run(on_core(1, argv), stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, check=False, env=env,
                              timeout=max(1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired as late:
        printed = (late.stdout or b"").decode(errors="replace")
        raise RuntimeError(f"{command} did not end within {TIME_LIMIT} s: {tail(printed)}") from late
    if done.returncode != 0:
        raise RuntimeError(f"{command} ended with {done.returncode}: {tail(done.stdout + done.stderr)}")
    return done.stdout
