#!/usr/bin/env python3
"""Both daemons and their initiators over TLS. The same tests for both, one class a ctest.

    MRPOOL_BIN=build/dev/bin tests/integration/tls_test.py [Class[.test]]...
"""
import json
import os
import socket
import subprocess
import unittest

from harness import BIN, IQN, NQN, PATIENCE, IserTargetTest, TargetTest


class Tls:
    def setUp(self):
        super().setUp()
        self.key = os.urandom(32).hex()
        self.keys = self.psk("keys", {"host-1": self.key, "host-2": os.urandom(32).hex()})
        self.host_key = self.psk("host", {"host-1": self.key})

    def psk(self, name, keys, mode=0o600):
        path = self.folder / f"{name}.psk"
        path.write_text("".join(f"{identity}:{key}\n" for identity, key in keys.items()))
        path.chmod(mode)
        return path

    def openssl(self, *arguments):
        subprocess.run(["openssl", *map(str, arguments)], cwd=self.folder, check=True,
                       capture_output=True)

    def authority(self):
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-days", "30", "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.pem")

    def certificate(self, name, names="IP:127.0.0.1", days="30"):
        """The options of an address for a side with a certificate."""
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={names}\n")
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                     "-CAcreateserial", "-days", days, "-extfile", extensions, "-out", f"{name}.pem")
        return (f"?tls=cert&tls-ca={self.folder}/ca.pem&tls-cert={self.folder}/{name}.pem"
                f"&tls-key={self.folder}/{name}.key")

    def load(self, target, options, *more):
        job, own = self.perf(target.address + options, "--rw", "randrw", "--bs", "16k", "--iodepth",
                             "8", "--size", "1M", "--numjobs", "2", "--verify", "crc32c", *more)
        self.assert_verified(job, own)

    def refused_by(self, target, options, *said):
        """The initiator ends with the first text, the target's log has the second."""
        _, err = self.run_host(self.asks, target.address + options, *self.asked, expect=3)
        self.assertIn(said[0], err)
        if len(said) > 1:
            self.expect_said(target, said[1])

    def test_a_verified_load_under_a_key(self):
        target = self.target(*self.large, device=f"?tls=psk&tls-psk={self.keys}")
        self.load(target, f"?tls=psk&tls-psk={self.host_key}")
        self.load(target, f"?tls=psk&tls-psk={self.keys}&tls-identity=host-2&crc=off")

    def test_a_verified_load_under_certificates(self):
        self.authority()
        target = self.target(*self.large, device=self.certificate("target"))
        self.load(target, self.certificate("host"))

    def test_a_verified_load_under_adversarial_placement(self):
        placement = "&placement=adversarial&seed=3"
        target = self.target(*self.large, device=f"?tls=psk&tls-psk={self.keys}{placement}")
        self.load(target, f"?tls=psk&tls-psk={self.host_key}{placement}")

    def test_wrong_keys_are_named_on_both_sides(self):
        target = self.target(*self.storage, device=f"?tls=psk&tls-psk={self.keys}")
        wrong = self.psk("wrong", {"host-1": os.urandom(32).hex()})
        self.refused_by(target, f"?tls=psk&tls-psk={wrong}", "another key for the identity",
                        "the peer has another key for its identity")
        self.refused_by(target, "", "the peer demands TLS; add tls=")

    def test_strangers_are_named_on_both_sides(self):
        target = self.target(*self.storage, device=f"?tls=psk&tls-psk={self.keys}")
        stranger = self.psk("stranger", {"host-9": self.key})
        self.refused_by(target, f"?tls=psk&tls-psk={stranger}", "has no key for the identity",
                        "there is no key for the identity 'host-9'")

    def test_a_target_without_tls(self):
        target = self.target(*self.storage)
        self.refused_by(target, f"?tls=psk&tls-psk={self.host_key}",
                        "perhaps the peer does not use TLS", "the peer uses TLS")

    def test_a_reload_reads_the_keys_again(self):
        served = self.folder / "served.json"
        served.write_text(json.dumps(self.configuration(
            f"uiwarp://127.0.0.1:0?tls=psk&tls-psk={self.keys}")))
        target = self.target(config=served)
        self.run_host(self.asks, f"{target.address}?tls=psk&tls-psk={self.host_key}", *self.asked)
        self.keys.write_text("host-1:too-short\n")
        self.assertIn(f"{self.keys}, line 1", target.reload())
        self.run_host(self.asks, f"{target.address}?tls=psk&tls-psk={self.host_key}", *self.asked)
        self.psk("keys", {"host-2": os.urandom(32).hex()})
        self.assertIn("nothing changed", target.reload())
        self.refused_by(target, f"?tls=psk&tls-psk={self.host_key}", "has no key for the identity",
                        "there is no key for the identity 'host-1'")

    def test_certificates_that_do_not_count(self):
        self.authority()
        target = self.target(*self.storage, device=self.certificate("target", "DNS:disk.example"))
        self.refused_by(target, self.certificate("host"), "it is not for '127.0.0.1'")
        self.refused_by(target, self.certificate("old", days="-1") + "&tls-name=disk.example",
                        "certificate expired", "certificate has expired")

    def test_mistakes(self):
        program, *served = self.target_class.program
        readable = self.psk("readable", {"a": self.key}, mode=0o644)
        for options, named in (("?tls=yes", "expected tls=off, tls=psk or tls=cert"),
                               ("?tls=psk", "needs tls-psk=FILE"),
                               ("?tls=psk&tls-psk=/nowhere", "/nowhere cannot be opened"),
                               (f"?tls=psk&tls-psk={readable}", "chmod 0600"),
                               (f"?tls-psk={self.keys}", "needs tls=psk")):
            with self.subTest(options=options):
                said = self.refused(program, *served, *self.storage, "--listen",
                                    f"uiwarp://127.0.0.1:0{options}")
                self.assertIn(named, said)
                said = self.refused(self.host_program, self.asks,
                                    f"uiwarp://127.0.0.1:1{options}", *self.asked, expect=2)
                self.assertIn(named, said)


    def test_a_check_finds_what_a_listener_lacks(self):
        self.authority()
        program, *served = self.target_class.program
        said = self.refused(program, *served, *self.storage, "--check-config", "--listen",
                            f"uiwarp://127.0.0.1:0?tls=cert&tls-ca={self.folder}/ca.pem")
        self.assertIn("needs tls-cert=FILE and tls-key=FILE", said)


class Nvmf(Tls, TargetTest):
    asks = "identify"
    asked = TargetTest.name
    large = ["--namespace", "ram:8MiB"]

    def ctl(self, *words):
        done = subprocess.run([BIN / "mrpool-ctl", *words, "--socket", self.folder / "control"],
                              capture_output=True, text=True, timeout=PATIENCE, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_a_listener_of_the_control_socket(self):
        self.target(*self.storage, "--control", self.folder / "control")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            place = f"uiwarp://127.0.0.1:{free.getsockname()[1]}"
        options = f"tls=psk&tls-psk={self.keys}"
        self.ctl("listener", "add", NQN, "--address", f"{place}?{options}")
        self.run_host(self.asks, f"{place}?tls=psk&tls-psk={self.host_key}", *self.asked)
        calls = self.ctl("call", "save_config")
        self.assertIn(options, calls, "a start from it would have no TLS")
        self.ctl("listener", "remove", NQN, "--address", place)
        self.run_host(self.asks, f"{place}?tls=psk&tls-psk={self.host_key}", *self.asked, expect=3)

    def configuration(self, listen):
        return {"listen": [listen],
                "subsystems": [{"nqn": NQN, "namespaces": [{"storage": "ram:1MiB"}]}]}


class Iser(Tls, IserTargetTest):
    asks = "ls"
    asked = []
    large = ["--lun", "ram:8MiB"]

    def configuration(self, listen):
        return {"listen": [listen], "targets": [{"name": IQN, "luns": ["ram:1MiB"]}]}


if __name__ == "__main__":
    unittest.main()
