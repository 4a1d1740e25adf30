"""A target daemon for the length of a measurement, and what it costs while it runs."""
import os
import re
import resource
import signal
import subprocess
import tempfile
import time

NQN = "nqn.2026-11.org.mrpool:bench"
START_SECONDS = 20


class Target:
    """mrpool-nvmf-target on core 0 (`cores`), polling without sleep unless told otherwise. `env` is
    added to its environment."""

    def __init__(self, group, *namespaces, device="", cores="0", options=("--spin", "forever"),
                 env=None):
        self.log = tempfile.TemporaryFile(mode="w+")
        self.argv = group.command("mrpool-nvmf-target", "--listen", f"uiwarp://127.0.0.1:0{device}",
                                  "--subnqn", NQN, *options)
        for namespace in namespaces:
            self.argv += ["--namespace", namespace]
        self.process = subprocess.Popen(["taskset", "-c", cores, *self.argv], stdout=self.log,
                                        stderr=subprocess.STDOUT, preexec_fn=raise_file_limit,
                                        env={**os.environ, **(env or {})})
        self.address = self._address() + device

    def _address(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            found = re.search(r"uiwarp://127\.0\.0\.1:[1-9][0-9]*", self._output())
            if found:
                return found.group()
            time.sleep(0.02)
        self.process.kill()
        raise RuntimeError(f"mrpool-nvmf-target did not start: {self._output()[-2000:]}")

    def _output(self):
        self.log.seek(0)
        return self.log.read()

    def resident(self):
        """Bytes of memory in use."""
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def raise_file_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def perf(group, target, nsid, *options, core="1", spin=True):
    """Runs mrpool-nvmf perf on core 1; returns (the merged job, the command)."""
    argv = group.command("mrpool-nvmf", "perf", target.address, "--subnqn", NQN, "--nsid", nsid,
                         "--group_reporting", "--output-format", "json", "--eta", "never",
                         *(["--spin"] if spin else []), *options)
    return group.run(["taskset", "-c", core, *argv])["jobs"][0], argv
