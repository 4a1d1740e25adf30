"""A client of the control socket that sends what SPDK's clients send: JSON-RPC 2.0 requests, each an
indented JSON value with nothing after it, parameters by name, and only those that are given."""
import json
import socket


class RpcError(Exception):
    def __init__(self, error):
        super().__init__(f"{error['code']}: {error['message']}")
        self.code = error["code"]
        self.message = error["message"]


class Client:
    def __init__(self, path, timeout=120):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(str(path))
        self.rest = ""
        self.last = 0

    def close(self):
        self.socket.close()

    def send(self, text):
        self.socket.sendall(text.encode())

    def receive(self):
        """The next JSON value; None: the daemon has closed the connection."""
        while True:
            self.rest = self.rest.lstrip()
            try:
                value, end = json.JSONDecoder().raw_decode(self.rest)
            except ValueError:
                some = self.socket.recv(65536)
                if not some:
                    return None
                self.rest += some.decode()
                continue
            self.rest = self.rest[end:]
            return value

    def request(self, method, **parameters):
        self.last += 1
        request = {"jsonrpc": "2.0", "method": method, "id": self.last}
        given = {name: value for name, value in parameters.items() if value is not None}
        if given:
            request["params"] = given
        return request

    def call(self, method, **parameters):
        request = self.request(method, **parameters)
        self.send(json.dumps(request, indent=2))
        answer = self.receive()
        if answer is None:
            raise ConnectionError("the daemon has closed the connection")
        if answer["id"] != request["id"] or answer["jsonrpc"] != "2.0":
            raise ValueError(f"another request's answer: {answer}")
        if "error" in answer:
            raise RpcError(answer["error"])
        return answer["result"]

    def batch(self, *calls):
        """The answers to (method, parameters)... in one list."""
        self.send(json.dumps([self.request(method, **parameters) for method, parameters in calls],
                             indent=2))
        return self.receive()
