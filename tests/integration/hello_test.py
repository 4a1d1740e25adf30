#!/usr/bin/env python3
"""The hello example does what it says: hello_test.py BIN_DIR."""
import pathlib
import re
import subprocess
import sys

bin_dir = pathlib.Path(sys.argv[1])
server = subprocess.Popen([bin_dir / "hello_server", "uiwarp://127.0.0.1:0"],
                          stdout=subprocess.PIPE, text=True)
try:
    port = re.search(r"port (\d+)", server.stdout.readline()).group(1)
    client = subprocess.run([bin_dir / "hello_client", f"uiwarp://127.0.0.1:{port}"],
                            capture_output=True, text=True, timeout=60, check=False)
    heard = server.stdout.read()
    assert server.wait(timeout=60) == 0, "the server failed"
finally:
    server.kill()
assert client.returncode == 0, client.stderr
assert "is anybody there?" in heard, heard
assert "hello from uiwarp" in client.stdout, client.stdout
