"""A headless Chromium, driven by WebDriver's own protocol: no more than the status page's test needs."""
import base64
import json
import pathlib
import subprocess
import time
import urllib.error
import urllib.request

PATIENCE = 120
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage", "--hide-scrollbars"]


class Browser:
    """A window with a profile in `folder`; close() ends it."""

    def __init__(self, folder, *flags):
        log = pathlib.Path(folder) / "chromedriver.log"
        self.process = subprocess.Popen(["chromedriver", "--port=0", f"--log-path={log}"],
                                        stdout=subprocess.PIPE, text=True)
        try:
            self.base = f"http://127.0.0.1:{self._port()}"
            options = {"args": [*FLAGS, f"--user-data-dir={folder}/profile", *flags],
                       "binary": "/usr/bin/chromium"}
            answer = self._call("POST", "/session", {"capabilities": {"alwaysMatch": {
                "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}})
            self.base += f"/session/{answer['sessionId']}"
        except BaseException:
            self._end()
            raise

    def _port(self):
        for line in self.process.stdout:
            if "started successfully on port" in line:
                return int(line.rstrip(".\n").rsplit(" ", 1)[1])
        raise AssertionError("chromedriver did not start")

    def _call(self, method, path, body=None):
        request = urllib.request.Request(self.base + path, method=method,
                                         data=None if body is None else json.dumps(body).encode(),
                                         headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.read().decode()}") from error

    def open(self, url):
        self._call("POST", "/url", {"url": url})

    def size(self, width, height):
        """Of the page, as a phone or a desk has it; a window cannot be so narrow."""
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=height,
                     deviceScaleFactor=1, mobile=width < 600)

    def scheme(self, name):
        """"light" or "dark"."""
        self.command("Emulation.setEmulatedMedia",
                     features=[{"name": "prefers-color-scheme", "value": name}])

    def command(self, name, **parameters):
        return self._call("POST", "/goog/cdp/execute", {"cmd": name, "params": parameters})

    def run(self, script, *arguments):
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def until(self, script):
        """Waits until the expression is true."""
        deadline = time.monotonic() + PATIENCE
        while not self.run(f"return Boolean({script})"):
            if time.monotonic() > deadline:
                raise AssertionError(f"not so: {script}\n{self.run('return document.body.innerText')}")
            time.sleep(0.1)

    def said(self):
        """What the page wrote to its console, errors of loading and of policy among it."""
        return [entry["message"] for entry in self._call("POST", "/se/log", {"type": "browser"})]

    def picture(self, path):
        shot = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=False)
        pathlib.Path(path).write_bytes(base64.b64decode(shot["data"]))

    def close(self):
        try:
            self._call("DELETE", "")
        finally:
            self._end()

    def _end(self):
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
