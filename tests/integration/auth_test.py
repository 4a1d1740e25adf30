#!/usr/bin/env python3
"""Hosts that prove themselves by DH-HMAC-CHAP, and targets that do: mrpool-nvmf against
mrpool-nvmf-target.

    MRPOOL_BIN=build/dev/bin tests/integration/auth_test.py [Class[.test]]...
"""
import base64
import json
import os
import re
import struct
import unittest
import zlib

from harness import NQN, TargetTest
from json_rpc import Client, RpcError

HOST = "nqn.2026-11.org.mrpool:host"
OTHER = "nqn.2026-11.org.mrpool:other"
DISCOVERY = "nqn.2014-08.org.nvmexpress.discovery"
HASHES = ("sha256", "sha384", "sha512")
GROUPS = ("null", "ffdhe2048", "ffdhe3072", "ffdhe4096", "ffdhe6144", "ffdhe8192")


def secret(size=32, transform=1):
    key = os.urandom(size)
    text = base64.b64encode(key + struct.pack("<I", zlib.crc32(key))).decode()
    return f"DHHC-1:{transform:02}:{text}:"


class Proven(TargetTest):
    def setUp(self):
        super().setUp()
        self.host_key = self.key("host")
        self.target_key = self.key("target", size=48, transform=2)
        self.wrong_key = self.key("wrong")

    def key(self, name, mode=0o600, text=None, **how):
        path = self.folder / f"{name}.key"
        path.write_text((secret(**how) if text is None else text) + "\n")
        path.chmod(mode)
        return path

    def asking(self, *more, **how):
        return self.target(*self.storage, "--host-nqn", HOST, "--dhchap-key", self.host_key, *more,
                           **how)

    def config(self, hosts, **more):
        path = self.folder / "target.json"
        path.write_text(json.dumps({
            "listen": ["uiwarp://127.0.0.1:0"],
            "subsystems": [{"nqn": NQN, "hosts": hosts, "namespaces": [{"storage": "ram:1MiB"}]}],
            **more}))
        return path

    def look(self, target, *options, expect=0, host=HOST):
        return self.run_host("identify", target, *self.name, "--host-nqn", host, *options,
                             expect=expect)[1]

    def load(self, target, *options, expect=0):
        return self.perf(target, "--host-nqn", HOST, "--rw", "randrw", "--bs", "4k", "--iodepth",
                         "8", "--verify", "crc32c", *options, expect=expect)


class Keys(Proven):
    def test_the_right_key_on_every_queue(self):
        target = self.asking()
        job, own = self.load(target, "--dhchap-secret", self.host_key, "--numjobs", "3",
                             "--size", "64k")
        self.assert_verified(job, own)
        self.assertEqual(own["authentications"], 4, own)
        self.expect_said(target, "authenticated by DH-HMAC-CHAP (sha512, ffdhe3072)")
        target.stop()
        self.assertRegex(target.output(), rf"subsystem/{re.escape(NQN)}/authentications 4")

    def test_a_wrong_key(self):
        target = self.asking()
        said = self.look(target, "--dhchap-secret", self.wrong_key, expect=3)
        self.assertIn("authentication failed; --dhchap-secret must be the key that the target has",
                      said)
        self.expect_said(target, f"DH-HMAC-CHAP of {HOST} to {NQN} failed: its response is wrong")
        self.assertNotIn(f"{HOST} connected", target.output())
        self.look(target, "--dhchap-secret", self.host_key)

    def test_no_key(self):
        target = self.asking()
        said = self.look(target, expect=3)
        self.expect_said(target, f"DH-HMAC-CHAP of {HOST} to {NQN} failed: it ended before the host was "
                                 "authenticated")
        self.assertIn(f"requires DH-HMAC-CHAP of the host '{HOST}'; give --dhchap-secret", said)

    def test_mutual(self):
        target = self.asking("--dhchap-ctrlr-key", self.target_key)
        self.look(target, "--dhchap-secret", self.host_key, "--dhchap-ctrl-secret", self.target_key)
        self.expect_said(target, ", mutual)")
        self.look(target, "--dhchap-secret", self.host_key)
        said = self.look(target, "--dhchap-secret", self.host_key, "--dhchap-ctrl-secret",
                         self.wrong_key, expect=3)
        self.assertIn("the target is not authentic: it proves another secret", said)
        self.expect_said(target, "its secret for this target is not dhchap_ctrlr_key")

    def test_a_target_that_cannot_prove_itself(self):
        said = self.look(self.asking(), "--dhchap-secret", self.host_key, "--dhchap-ctrl-secret",
                         self.target_key, expect=3)
        self.assertIn("the target needs one of its own for --dhchap-ctrl-secret", said)

    def test_a_target_that_asks_nobody_is_not_trusted_with_a_proof_wanted(self):
        target = self.target(*self.storage)
        self.look(target, "--dhchap-secret", self.host_key)
        said = self.look(target, "--dhchap-secret", self.host_key, "--dhchap-ctrl-secret",
                         self.target_key, expect=3)
        self.assertIn("the target has no key for this host and does not authenticate itself", said)

    def test_hosts_of_one_subsystem(self):
        target = self.asking("--host-nqn", OTHER)
        self.look(target, host=OTHER)
        self.look(target, host=HOST, expect=3)
        self.look(target, "--dhchap-secret", self.host_key)

    def test_every_hash_with_every_group(self):
        ports = []
        for digest in HASHES:
            for group in GROUPS:
                ports.append({"nqn": f"{HOST}-{digest}-{group}", "dhchap_key": str(self.host_key),
                              "dhchap_ctrlr_key": str(self.target_key),
                              "dhchap_digests": [digest], "dhchap_dhgroups": [group]})
        target = self.target(config=self.config(ports))
        for entry in ports:
            self.look(target, "--dhchap-secret", self.host_key, "--dhchap-ctrl-secret",
                      self.target_key, host=entry["nqn"])
            self.expect_said(target, f"({entry['dhchap_digests'][0]}, "
                                     f"{entry['dhchap_dhgroups'][0]}, mutual)")

    def test_again_and_again_under_load(self):
        target = self.asking("--dhchap-ctrlr-key", self.target_key)
        job, own = self.load(target, "--dhchap-secret", self.host_key, "--dhchap-ctrl-secret",
                             self.target_key, "--dhchap-reauth", "100ms", "--numjobs", "2",
                             "--time_based", "--runtime", "2")
        self.assert_verified(job, own)
        self.assertGreater(own["authentications"], 6, own)


class Changes(Proven):
    def test_another_key_by_reload(self):
        target = self.target(config=self.config(
            [{"nqn": HOST, "dhchap_key": str(self.host_key)}]))
        self.look(target, "--dhchap-secret", self.host_key)
        self.config([{"nqn": HOST, "dhchap_key": str(self.wrong_key)}])
        self.assertIn("reloaded", target.reload())
        self.look(target, "--dhchap-secret", self.host_key, expect=3)
        self.look(target, "--dhchap-secret", self.wrong_key)
        # The same file with another secret.
        self.wrong_key.write_text(secret() + "\n")
        self.assertIn("reloaded", target.reload())
        self.look(target, "--dhchap-secret", self.wrong_key)
        self.wrong_key.write_text("DHHC-1:00:AAAA:\n")
        self.assertIn("is not a DH-HMAC-CHAP secret: it has 0 bytes", target.reload())

    def test_a_key_for_who_is_connected_drops_it(self):
        target = self.target(config=self.config([HOST]))
        load = self.start("perf", target, *self.name, "--host-nqn", HOST, "--rw", "randread",
                          "--time_based", "--runtime", "600", "--eta", "never")
        self.addCleanup(lambda: load.poll() is not None or load.kill())
        self.expect_said(target, f"{HOST} connected to {NQN}")
        self.config([{"nqn": HOST, "dhchap_key": str(self.host_key)}])
        self.assertIn("reloaded", target.reload())
        self.expect_said(target, "dropped, the host must authenticate now")
        load.communicate(timeout=120)
        self.assertNotEqual(load.returncode, 0)

    def test_the_methods_of_spdk(self):
        target = self.target(*self.storage, "--host-nqn", OTHER, "--control",
                             self.folder / "sock")
        client = Client(self.folder / "sock")
        self.addCleanup(client.close)
        with self.assertRaisesRegex(RpcError, 'there is no key "k1"'):
            client.call("nvmf_subsystem_add_host", nqn=NQN, host=HOST, dhchap_key="k1")
        open_key = self.key("open", mode=0o644)
        with self.assertRaisesRegex(RpcError, "has mode 0644"):
            client.call("keyring_file_add_key", name="k1", path=str(open_key))
        with self.assertRaisesRegex(RpcError, "not the secret itself"):
            client.call("nvmf_subsystem_add_host", nqn=NQN, host=HOST, dhchap_key=secret())
        client.call("keyring_file_add_key", name="k1", path=str(self.host_key))
        client.call("keyring_file_add_key", name="k2", path=str(self.target_key))
        client.call("nvmf_subsystem_add_host", nqn=NQN, host=HOST, dhchap_key="k1",
                    dhchap_ctrlr_key="k2")
        self.look(target, "--dhchap-secret", self.host_key, "--dhchap-ctrl-secret",
                  self.target_key)
        self.assertEqual([(key["name"], key["refcnt"]) for key in client.call("keyring_get_keys")],
                         [("k1", 1), ("k2", 1)])
        with self.assertRaisesRegex(RpcError, "is that of a host"):
            client.call("keyring_file_remove_key", name="k1")
        saved = self.folder / "saved.json"
        answer = json.dumps(client.call("save_config", filename=str(saved)))
        self.assertIn('"dhchap_key": "k1"', answer)
        self.assertIn("keyring_file_add_key", answer)
        self.assertNotIn("DHHC", answer + saved.read_text())
        client.call("nvmf_subsystem_set_keys", nqn=NQN, host=HOST, dhchap_key=str(self.wrong_key))
        self.look(target, "--dhchap-secret", self.wrong_key)
        client.call("nvmf_subsystem_set_keys", nqn=NQN, host=HOST)
        self.look(target)
        client.call("keyring_file_remove_key", name="k1")
        again = self.target(config=saved)
        self.look(again, "--dhchap-secret", self.host_key, "--dhchap-ctrl-secret",
                  self.target_key)


class Discovery(Proven):
    def discover(self, target, *options, expect=0, host=HOST):
        out, said = self.run_host("discover", target, "--host-nqn", host, "--output-format",
                                  "json", *options, expect=expect)
        return [each["subnqn"] for each in json.loads(out)["records"]] if expect == 0 else said

    def test_a_key_of_a_subsystem(self):
        target = self.asking("--dhchap-ctrlr-key", self.target_key, "--host-nqn", OTHER,
                             "--discovery-authentication", "keys")
        right = ("--dhchap-secret", self.host_key)
        self.assertIn("requires DH-HMAC-CHAP of the host", self.discover(target, expect=3))
        said = self.discover(target, "--dhchap-secret", self.wrong_key, expect=3)
        self.assertIn("authentication failed", said)
        self.expect_said(target, f"DH-HMAC-CHAP of {HOST} to {DISCOVERY} failed: its response")
        self.assertEqual(self.discover(target, *right), [NQN])
        self.assertEqual(self.discover(target, *right, "--dhchap-ctrl-secret", self.target_key),
                         [NQN])
        said = self.discover(target, *right, "--dhchap-ctrl-secret", self.wrong_key, expect=3)
        self.assertIn("the target is not authentic", said)
        self.assertEqual(self.discover(target, host=OTHER), [NQN])
        target.stop()
        self.assertRegex(target.output(),
                         rf"subsystem/{re.escape(DISCOVERY)}/authentication_failures 3")

    def test_required_of_all(self):
        config = self.config([OTHER, {"nqn": HOST, "dhchap_key": str(self.host_key)}],
                             discovery_authentication="required")
        target = self.target(config=config)
        self.assertEqual(self.discover(target, "--dhchap-secret", self.host_key), [NQN])
        self.assertIn(OTHER, self.discover(target, host=OTHER, expect=3))
        self.expect_said(target, f"{OTHER} to {DISCOVERY} refused: the host has no key")
        self.config([OTHER, {"nqn": HOST, "dhchap_key": str(self.host_key)}])
        self.assertIn("changed authentication of discovery", target.reload())
        self.assertEqual(self.discover(target, host=OTHER), [NQN])
        self.assertEqual(self.discover(target), [NQN])

    def test_a_key_of_each_subsystem(self):
        more = [{"nqn": NQN, "hosts": [{"nqn": HOST, "dhchap_key": str(self.host_key)}]},
                {"nqn": f"{NQN}2", "hosts": [{"nqn": HOST, "dhchap_key": str(self.wrong_key)}]}]
        for each in more:
            each["namespaces"] = [{"storage": "ram:1MiB"}]
        target = self.target(config=self.config([], subsystems=more,
                                                discovery_authentication="keys"))
        for key in (self.host_key, self.wrong_key):
            self.assertEqual(self.discover(target, "--dhchap-secret", key), [NQN, f"{NQN}2"])
        self.discover(target, "--dhchap-secret", self.target_key, expect=3)

    def test_by_the_control_socket(self):
        target = self.asking("--control", self.folder / "sock")
        client = Client(self.folder / "sock")
        self.addCleanup(client.close)
        self.assertEqual(self.discover(target), [NQN])
        for mode in ("keys", "required"):
            client.call("mrpool_nvmf_discovery_set_authentication", mode=mode)
            self.discover(target, expect=3)
            shown, = client.call("nvmf_get_subsystems", nqn=DISCOVERY)
            self.assertEqual((shown["allow_any_host"], shown["hosts"], shown["authentication"]),
                             (mode == "keys", [{"nqn": HOST}], mode))
        saved = self.folder / "saved.json"
        self.assertIn("mrpool_nvmf_discovery_set_authentication",
                      json.dumps(client.call("save_config", filename=str(saved))))
        self.assertEqual(json.loads(saved.read_text())["discovery_authentication"], "required")
        client.call("mrpool_nvmf_discovery_set_authentication", mode="off")
        self.assertEqual(self.discover(target), [NQN])


class Mistakes(Proven):
    def serve(self, *options, expect=2):
        return self.refused("mrpool-nvmf-target", "--listen", "uiwarp://127.0.0.1:0", "--subnqn",
                            NQN, *self.storage, "--check-config", *options, expect=expect)

    def test_of_the_target(self):
        self.assertIn("needs a --host-nqn before it", self.serve("--dhchap-key", self.host_key))
        self.assertIn("seen by every user", self.serve("--host-nqn", HOST, "--dhchap-key",
                                                       secret()))
        self.assertIn("without a \"dhchap_key\"",
                      self.serve("--host-nqn", HOST, "--dhchap-ctrlr-key", self.host_key))
        self.assertIn("cannot be read", self.serve("--host-nqn", HOST, "--dhchap-key", "/no/such"))
        self.assertIn("has mode 0644", self.serve("--host-nqn", HOST, "--dhchap-key",
                                                  self.key("wide", mode=0o644)))
        damaged = self.key("damaged", text=secret().replace("DHHC-1:01:", "DHHC-1:01:AAAA"))
        self.assertIn("is not a DH-HMAC-CHAP secret", self.serve("--host-nqn", HOST, "--dhchap-key",
                                                              damaged))

    def test_of_a_file(self):
        def check(hosts, **more):
            return self.refused("mrpool-nvmf-target", "--check-config", "--config",
                                self.config(hosts, **more))
        self.assertIn("of sha512, sha384, sha256", check(
            [{"nqn": HOST, "dhchap_key": str(self.host_key), "dhchap_digests": ["md5"]}]))
        self.assertIn('there is no key "k"', check([{"nqn": HOST, "dhchap_key": "k"}]))
        self.assertIn("is given twice", check([{"nqn": HOST}, {"nqn": HOST}]))
        self.assertIn('must be an absolute path', check([], keys=[{"name": "k", "path": "k"}]))
        self.assertIn("is none of off, keys, required", check([], discovery_authentication="on"))
        self.assertIn("no host has a key", check([HOST], discovery_authentication="required"))
        # The secret itself, in a file that everybody can read.
        path = self.config([{"nqn": HOST, "dhchap_key": secret()}])
        path.chmod(0o644)
        self.assertIn("has mode 0644", self.refused("mrpool-nvmf-target", "--check-config",
                                                    "--config", path))
        path.chmod(0o600)
        self.look(self.target(config=path), expect=3)

    def test_of_the_host(self):
        def mistake(*options):
            return self.refused("mrpool-nvmf", "identify", "uiwarp://127.0.0.1:1", *self.name,
                                *options)
        self.assertIn("seen by every user", mistake("--dhchap-secret", secret()))
        self.assertIn("--dhchap-ctrl-secret needs --dhchap-secret",
                      mistake("--dhchap-ctrl-secret", self.target_key))
        self.assertIn("CRC-32 is wrong", mistake("--dhchap-secret", self.key(
            "crc", text="DHHC-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaS:")))
        self.assertIn("passes no credentials", mistake("--dhchap-secret", "credential:key"))


if __name__ == "__main__":
    unittest.main(verbosity=1)
