#!/usr/bin/env python3
"""mrpool-ctl: what it asks a daemon, what it prints of the answers, and how it ends.

The daemon is played here, so that every answer is tried, wrong ones too. With real daemons:
class Daemons.
"""
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from harness import IQN, NQN as HARNESS_NQN, IserTarget, TargetTest

BIN = pathlib.Path(os.environ.get("MRPOOL_BIN", "build/dev/bin"))
PATIENCE = 60
NQN = "nqn.2026-11.org.example:disk"
SUBSYSTEM = {"nqn": NQN, "subtype": "NVMe", "serial_number": "S1", "allow_any_host": False,
             "hosts": [{"nqn": "nqn.2026-11.org.example:h"}],
             "listen_addresses": [{"trtype": "RDMA", "adrfam": "IPv4", "traddr": "10.0.0.1",
                                   "trsvcid": "4420"}],
             "namespaces": [{"nsid": 7, "name": "disk", "uuid": "0a1b", "anagrpid": 2}]}
DISCOVERY = {"nqn": "nqn.2014-08.org.nvmexpress.discovery", "subtype": "Discovery"}
STORE = {"name": "disk", "product_name": "file", "block_size": 512, "num_blocks": 4096,
         "uuid": "0a1b", "claimed": True}


class Played:
    """A control socket that answers each method with what it is told, and keeps what was asked."""

    def __init__(self, folder, **answers):
        self.path = str(pathlib.Path(folder) / "control.sock")
        self.answers = answers
        self.asked = []
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(self.path)
        self.server.listen()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            with client, client.makefile("r") as lines:
                for line in lines:
                    request = json.loads(line)
                    self.asked.append((request["method"], request.get("params")))
                    answer = self.answers.get(request["method"], True)
                    if callable(answer):
                        answer = answer(client, request)
                        if answer is None:
                            break
                    elif not (isinstance(answer, dict) and "error" in answer):
                        answer = {"result": answer}
                    text = json.dumps({"jsonrpc": "2.0", "id": request["id"], **answer})
                    for at in range(0, len(text), 1000):  # in pieces
                        client.sendall(text[at:at + 1000].encode())

    def close(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.thread.join(PATIENCE)


def run(*words, **options):
    environment = {name: value for name, value in os.environ.items() if name != "MRPOOL_SOCKET"}
    return subprocess.run([BIN / "mrpool-ctl", *words], capture_output=True, text=True,
                          timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL,
                          env={**environment, **options})


class Commands(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.daemon = Played(self.folder.name, nvmf_get_subsystems=[DISCOVERY, SUBSYSTEM],
                             bdev_get_bdevs=[STORE], nvmf_subsystem_add_ns=9)

    def tearDown(self):
        self.daemon.close()
        self.folder.cleanup()

    def ctl(self, words, ends_with=0):
        done = run(*words.split(), "--socket", self.daemon.path)
        self.assertEqual(done.returncode, ends_with, (words, done.stdout, done.stderr))
        return done.stdout if ends_with == 0 else done.stderr

    def asks(self, words, method, parameters, prints=None):
        """`words` make it call the method so; what it prints has `prints`."""
        output = self.ctl(words)
        self.assertEqual(self.daemon.asked[-1], (method, parameters), words)
        if prints:
            self.assertIn(prints, output)

    def test_changes_are_asked_for_in_spdks_words(self):
        self.asks(f"subsystem create {NQN} --serial S1 --model M --any-host",
                  "nvmf_create_subsystem", {"nqn": NQN, "serial_number": "S1", "model_number": "M",
                                            "allow_any_host": True, "ana_reporting": True},
                  f"created {NQN}\n")
        self.asks(f"subsystem-create {NQN} --min-cntlid 5 --max-cntlid 6", "nvmf_create_subsystem",
                  {"nqn": NQN, "ana_reporting": True, "min_cntlid": 5, "max_cntlid": 6})
        self.asks(f"subsystem delete {NQN}", "nvmf_delete_subsystem", {"nqn": NQN})
        self.asks(f"namespace add {NQN} --store disk --nsid 9 --uuid 0a1b", "nvmf_subsystem_add_ns",
                  {"nqn": NQN, "namespace": {"bdev_name": "disk", "nsid": 9, "uuid": "0a1b"}},
                  f"added namespace 9 to {NQN}\n")
        self.asks(f"namespace remove {NQN} --nsid 7", "nvmf_subsystem_remove_ns",
                  {"nqn": NQN, "nsid": 7})
        self.asks(f"namespace add {NQN} --store disk --hidden --ana-group 3",
                  "nvmf_subsystem_add_ns", {"nqn": NQN, "namespace": {
                      "bdev_name": "disk", "no_auto_visible": True, "anagrpid": 3}})
        self.asks(f"namespace reveal {NQN} --nsid 7 --host H", "nvmf_ns_add_host",
                  {"nqn": NQN, "nsid": 7, "host": "H"}, "H sees namespace 7")
        self.asks(f"namespace hide {NQN} --nsid 7 --host H", "nvmf_ns_remove_host",
                  {"nqn": NQN, "nsid": 7, "host": "H"}, "H no longer sees namespace 7")
        self.asks(f"namespace resize {NQN} --nsid 7", "bdev_aio_rescan", {"name": "disk"})
        self.asks(f"namespace resize {NQN} --nsid 7 --size 1GiB", "bdev_null_resize",
                  {"name": "disk", "new_size": 1024})
        self.asks(f"host add {NQN} --host H", "nvmf_subsystem_add_host", {"nqn": NQN, "host": "H"})
        self.asks(f"host remove {NQN} --host H", "nvmf_subsystem_remove_host",
                  {"nqn": NQN, "host": "H"})
        self.asks(f"host add {NQN} --any", "nvmf_subsystem_allow_any_host",
                  {"nqn": NQN, "allow_any_host": True})
        self.asks(f"host remove {NQN} --any", "nvmf_subsystem_allow_any_host",
                  {"nqn": NQN, "allow_any_host": False})
        self.asks("store create disk --storage file:/srv/d,direct --block-size 512 --uuid 0a1b",
                  "mrpool_store_create", {"name": "disk", "storage": "file:/srv/d,direct",
                                          "block_size": 512, "uuid": "0a1b"}, "created disk")
        self.asks("store delete disk", "mrpool_store_delete", {"name": "disk"})
        self.asks("store resize disk --size 2MiB", "bdev_null_resize",
                  {"name": "disk", "new_size": 2})
        self.asks("qos set disk --iops 1500 --burst 20", "bdev_set_qos_limit",
                  {"name": "disk", "rw_ios_per_sec": 1500, "qos_burst_ms": 20}, "limited disk")
        self.asks("qos set disk --mbytes 0 --read-mbytes 5 --write-mbytes 6", "bdev_set_qos_limit",
                  {"name": "disk", "rw_mbytes_per_sec": 0, "r_mbytes_per_sec": 5,
                   "w_mbytes_per_sec": 6})
        self.asks(f"qos host {NQN} --host * --iops 7", "mrpool_nvmf_subsystem_host_set_qos_limit",
                  {"nqn": NQN, "host": "*", "rw_ios_per_sec": 7}, f"limited * at {NQN}")
        self.asks("qos initiator T --initiator I --mbytes 8",
                  "mrpool_iscsi_target_node_initiator_set_qos_limit",
                  {"name": "T", "initiator": "I", "rw_mbytes_per_sec": 8})
        self.asks("log-level DEBUG", "log_set_level", {"level": "DEBUG"})
        self.asks("save", "save_config", {"write": True}, "saved")
        self.asks('call anything --params {"a":[1]}', "anything", {"a": [1]}, "true\n")

    def test_listeners(self):
        listen = {"trtype": "RDMA", "adrfam": "IPv6", "traddr": "verbs://::1", "trsvcid": "4420"}
        self.asks(f"listener add {NQN} --address verbs://[::1]", "nvmf_subsystem_add_listener",
                  {"nqn": NQN, "listen_address": listen})
        self.asks(f"listener remove {NQN} --address verbs://[::1]:4420",
                  "nvmf_subsystem_remove_listener", {"nqn": NQN, "listen_address": listen})
        tls = "tls=psk&tls-psk=/k"
        listen = {"trtype": "RDMA", "adrfam": "IPv4", "traddr": "uiwarp://10.0.0.1",
                  "trsvcid": "4420", "options": tls}
        self.asks(f"listener add {NQN} --address uiwarp://10.0.0.1?{tls}",
                  "nvmf_subsystem_add_listener", {"nqn": NQN, "listen_address": listen})

    def test_ana_states(self):
        method = "nvmf_subsystem_listener_set_ana_state"
        self.asks(f"ana set {NQN} --state inaccessible", method,
                  {"nqn": NQN, "ana_state": "inaccessible"}, "all groups at all listeners")
        self.asks(f"ana set {NQN} --state change --group 2 --address uiwarp://10.0.0.1:4421",
                  method, {"nqn": NQN, "ana_state": "change", "anagrpid": 2, "listen_address": {
                      "trtype": "RDMA", "adrfam": "IPv4", "traddr": "uiwarp://10.0.0.1",
                      "trsvcid": "4421"}}, "group 2 at uiwarp://10.0.0.1:4421: change\n")
        self.daemon.answers["nvmf_subsystem_get_listeners"] = [
            {"address": {"traddr": "10.0.0.1", "trsvcid": "4420"},
             "ana_states": [{"ana_group": 2, "ana_state": "optimized"}]}]
        self.assertEqual(self.ctl(f"ana list {NQN}"), "ADDRESS   PORT  GROUP  STATE\n"
                                                      "10.0.0.1  4420      2  optimized\n")
        self.assertIn("--state is missing", self.ctl(f"ana set {NQN}", 2))

    def test_referrals(self):
        where = {"trtype": "tcp", "traddr": "fd00::9", "trsvcid": "8009"}
        self.asks("referral add tcp://[fd00::9]:8009 --secure-channel",
                  "nvmf_discovery_add_referral", {"address": where, "secure_channel": True},
                  "discovery announces tcp://[fd00::9]:8009")
        self.asks(f"referral remove rdma://10.0.0.9:4420 --nqn {NQN}",
                  "nvmf_discovery_remove_referral",
                  {"address": {"trtype": "rdma", "traddr": "10.0.0.9", "trsvcid": "4420"},
                   "subnqn": NQN})
        self.daemon.answers["nvmf_discovery_get_referrals"] = [
            {"address": {"trtype": "TCP", "adrfam": "IPv6", "traddr": "fd00::9",
                         "trsvcid": "8009"}, "secure_channel": True, "subnqn": DISCOVERY["nqn"]}]
        self.assertIn(f"TCP   IPv6    fd00::9  8009  yes     {DISCOVERY['nqn']}",
                      self.ctl("referral list"))
        for bad in ("10.0.0.9:4420", "tcp://[fd00::9]", "tcp://10.0.0.9"):
            self.assertIn("is not an address", self.ctl(f"referral add {bad}", 2))

    def test_tables(self):
        self.assertEqual(self.ctl("subsystem list"),
                         "NQN                           SERIAL  NAMESPACES  LISTENERS  HOSTS\n"
                         f"{NQN}  S1               1          1  nqn.2026-11.org.example:h\n")
        self.assertEqual(self.ctl(f"namespace list {NQN}"), "NSID  STORE  UUID  GROUP  HOSTS\n"
                                                            "   7  disk   0a1b      2  all\n")
        self.assertEqual(self.ctl(f"host list {NQN}"), "HOST\nnqn.2026-11.org.example:h\n")
        self.assertIn("RDMA  IPv4    10.0.0.1  4420", self.ctl(f"listener list {NQN}"))
        self.assertEqual(self.ctl("store list"), "STORE  KIND  SIZE  BLOCK  USED  UUID\n"
                                                 "disk   file  2MiB    512  yes   0a1b\n")
        self.daemon.answers["nvmf_subsystem_get_controllers"] = [
            {"cntlid": 1, "hostnqn": "evil\x1b[2J", "hostid": "x", "num_io_qpairs": 2}]
        self.assertIn("evil\\x1b[2J", self.ctl(f"controllers {NQN}"))
        self.daemon.answers["bdev_get_iostat"] = {"bdevs": [
            {"name": "disk", "num_read_ops": 3, "bytes_read": 4096, "num_write_ops": 0,
             "bytes_written": 0}]}
        self.assertIn("disk       3  4KiB       0       0B", self.ctl("stats"))
        self.daemon.answers["mrpool_get_schema"] = [
            {"name": "m", "description": "does it", "params": [
                {"name": "a", "required": True}, {"name": "b", "required": False}]}]
        self.assertIn("m       a [b]       does it", self.ctl("methods"))

    def test_json(self):
        self.assertEqual(json.loads(self.ctl("subsystem list --json")), [SUBSYSTEM])
        self.assertEqual(json.loads(self.ctl("store list --json")), [STORE])
        self.assertEqual(json.loads(self.ctl("store delete disk --json")), True)

    def test_errors_of_the_daemon_have_an_exit_status(self):
        for code, status in ((-32602, 2), (-32601, 2), (-19, 3), (-17, 1), (-16, 3), (-32603, 1)):
            self.daemon.answers["mrpool_store_delete"] = {
                "error": {"code": code, "message": "disk: do this"}}
            self.assertEqual(self.ctl("store delete disk", status), "mrpool-ctl: disk: do this\n")
        self.daemon.answers["bdev_null_resize"] = {"error": {
            "code": -19, "message": "disk is a file: grow it, then call bdev_aio_rescan"}}
        for words in ("store resize disk --size 1MiB", f"namespace resize {NQN} --nsid 7 --size 1MiB"):
            self.assertIn("then `mrpool-ctl store resize disk` without --size\n", self.ctl(words, 3))
        missing = {"error": {"code": -19, "message": "no such; bdev_get_bdevs lists them"}}
        self.daemon.answers.update(mrpool_store_delete=missing, anything=missing)
        self.assertIn("no such; `mrpool-ctl store list` lists them", self.ctl("store delete disk", 3))
        self.assertIn("no such; bdev_get_bdevs lists them", self.ctl("call anything", 3))
        self.assertIn("there is no subsystem other; subsystem list", self.ctl("host list other", 3))
        self.assertIn("has no namespace 8", self.ctl(f"namespace resize {NQN} --nsid 8", 3))

    def test_mistakes_are_named_before_anything_is_asked(self):
        for words, why in ((f"namespace add {NQN}", "--store is missing"),
                           ("store create disk", "--storage is missing"),
                           ("store resize disk --size 1000", "write 1MiB"),
                           ("call m --params [1]", "must be a JSON object"),
                           ("call m --params {", "not JSON"),
                           (f"listener add {NQN} --address nowhere", "uiwarp://"),
                           (f"host add {NQN}", "--host"),
                           (f"namespace remove {NQN}", "--nsid"),
                           (f"host add {NQN} --any --host H", "exclude each other"),
                           ("subsystem frobnicate", "unknown command 'subsystem'")):
            self.assertIn(why, self.ctl(words, 2))
        self.assertEqual(self.daemon.asked, [])

    def test_answers_that_are_none(self):
        def say(text):
            def answer(client, _):
                client.sendall(text)
            return answer
        for text, why in ((b"", "without an answer"), (b"}", "not JSON"), (b"[5]", "not JSON-RPC"),
                          (b"{}", "neither a result nor an error"), (b'{"error": 5}', "neither"),
                          (b'{"error": {}}', "no reason is given"), (b'{"res', "without an answer")):
            self.daemon.answers["save_config"] = say(text)
            self.assertIn(why, self.ctl("save", 1))
        self.daemon.answers["nvmf_get_subsystems"] = {"odd": [1, {"x": None}]}
        self.assertIn("NQN", self.ctl("subsystem list"))

    def test_no_answer_in_time(self):
        def late(_client, _request):
            time.sleep(1.5)
        self.daemon.answers["save_config"] = late
        self.assertIn("no answer after", self.ctl("save --timeout 1ms", 3))

    def test_the_socket_is_found_or_named(self):
        done = run("store", "list", MRPOOL_SOCKET=self.daemon.path)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        missing = self.folder.name + "/missing"
        done = run("store", "list", "--socket", missing)
        self.assertEqual(done.returncode, 3)
        self.assertIn(f"start the daemon with --control {missing}", done.stderr)
        done = run("store", "list", "--socket", "x" * 200)
        self.assertEqual(done.returncode, 2)
        dead = socket.socket(socket.AF_UNIX)
        dead.bind(missing)
        dead.close()
        self.assertIn("has ended: start it again", run("save", "--socket", missing).stderr)

    def test_options_of_every_command_may_stand_before_it(self):
        first = ["--socket", self.daemon.path, f"--timeout={PATIENCE}", "--json"]
        done = run(*first, "subsystem", "list")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(json.loads(done.stdout), [SUBSYSTEM])
        done = run(f"--socket={self.daemon.path}", "store", "list", "--timeout", str(PATIENCE))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("Shows and changes", run(*first, "--help").stdout)
        for words in ["--socket", self.daemon.path], ["--socket"], ["--timeout", "soon", "save"]:
            done = run(*words)
            self.assertEqual((done.returncode, done.stdout), (2, ""), words)


class Daemons(TargetTest):
    """The daemons as they are."""

    def check(self, name):
        done = run("methods", "--socket", self.control)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"\nrpc_get_methods +\[current\] \[include_aliases\] +\w")
        done = run("call", "spdk_get_version", "--socket", self.control)
        self.assertTrue(json.loads(done.stdout)["version"].startswith(name), done.stdout)
        done = run("call", "no_such_method", "--socket", self.control)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("no_such_method", done.stderr)
        done = run("call", "rpc_get_methods", "--params", '{"curent": true}', "--socket",
                   self.control)
        self.assertEqual(done.returncode, 2)
        self.assertIn("there are: current, include_aliases", done.stderr)

    def setUp(self):
        super().setUp()
        self.control = self.folder / "control"

    def ctl(self, words, status=0):
        done = run(*words.split(), "--socket", self.control)
        self.assertEqual(done.returncode, status, (words, done.stderr))
        return done.stdout if status == 0 else done.stderr

    def check_sizes(self, start, file_of):
        """A file grows while it is served, and is saved as large as it is."""
        disk, config = self.folder / "disk", self.folder / "target.json"
        config.write_text(json.dumps({
            "listen": ["uiwarp://127.0.0.1:0"], "control": str(self.control),
            "stores": [{"name": "third", "storage": f"file:{disk},size=1MiB"}], **file_of}))
        target = start(config=config)
        os.truncate(disk, 2 << 20)
        said = self.ctl("store resize third --size 2MiB", 3)
        self.assertIn(f"third is a file: grow it with `truncate -s 2M {disk}`, then "
                      "`mrpool-ctl store resize third` without --size", said)
        self.ctl("store resize third")
        self.assertRegex(self.ctl("store list"), r"\nthird +AIO disk +2MiB ")
        self.ctl("save")
        self.assertIn(f"file:{disk},size=2MiB", config.read_text())
        self._end(target)
        self._end(start(config=config))
        config.write_text(config.read_text().replace("size=2MiB", "size=1MiB"))
        program = target.program[0]
        self.assertIn(f"{disk} has 2MiB, more than size=1MiB; write size=2MiB or leave size= out",
                      self.refused(program, "--config", config))

    def test_nvme_sizes(self):
        self.check_sizes(self.target, {"subsystems": [
            {"nqn": HARNESS_NQN, "namespaces": [{"store": "third"}]}]})

    def test_iser_sizes(self):
        self.check_sizes(self.iser_target, {"targets": [{"name": IQN, "luns": [{"store": "third"}]}]})

    def iser_target(self, **how):
        target = IserTarget(self.folder, **how)
        self.addCleanup(self._end, target)
        return target

    def test_the_other_daemon(self):
        self.target(*self.storage, "--control", self.control)
        self.assertIn("this is the socket of mrpool-nvmf-target; write --socket with the one of "
                      "mrpool-iser-target", self.ctl("target list", 2))

    def check_limits(self, store, place, who, command):
        """Sets limits of a store and of all hosts, and finds them in the table."""
        for words in (["qos", "set", store, "--iops", "1500"], [*command, "--mbytes", "9"]):
            done = run(*words, "--socket", self.control)
            self.assertEqual((done.returncode, done.stderr), (0, ""), words)
        done = run("qos", "list", "--socket", self.control)
        self.assertRegex(done.stdout, rf"\n{re.escape(store)} +- +1500 +- +- +- +10\n")
        self.assertRegex(done.stdout, rf"\n\* +{re.escape(place)} +- +9 +- +- +10\n")
        done = run("qos", "list", "--json", "--socket", self.control)
        self.assertEqual(json.loads(done.stdout)[who][0]["rw_mbytes_per_sec"], 9)
        done = run("qos", "set", store, "--iops", "0", "--socket", self.control)
        self.assertEqual(done.returncode, 0)
        done = run("qos", "set", "nowhere", "--iops", "1", "--socket", self.control)
        self.assertEqual(done.returncode, 3)
        self.assertIn('there is no store "nowhere"', done.stderr)

    def test_nvme_limits(self):
        target = self.target(*self.storage, "--control", self.control)
        self.check_limits(f"{HARNESS_NQN}/1", HARNESS_NQN, "hosts",
                          ["qos", "host", HARNESS_NQN, "--host", "*"])
        # A saved configuration has them too.
        run("qos", "set", f"{HARNESS_NQN}/1", "--iops", "50", "--socket", self.control)
        saved = json.loads(run("call", "save_config", "--socket", self.control).stdout)
        calls = [(call["method"], call["params"]) for section in saved["subsystems"]
                 for call in section["config"]]
        self.assertIn(("bdev_set_qos_limit", {"name": f"{HARNESS_NQN}/1", "rw_ios_per_sec": 50}),
                      calls)
        self.assertIn(("mrpool_nvmf_subsystem_host_set_qos_limit",
                       {"host": "*", "nqn": HARNESS_NQN, "rw_mbytes_per_sec": 9,
                        "qos_burst_ms": 10}), calls)
        # No more than the limit, however long it takes.
        done = subprocess.run([BIN / "mrpool-nvmf", "perf", target.address, "--subnqn", HARNESS_NQN,
                               "--rw", "randread", "--bs", "4k", "--iodepth", "16", "--time_based",
                               "--runtime", "1s", "--output-format", "json"],
                              capture_output=True, text=True, timeout=PATIENCE, check=True)
        job = json.loads(done.stdout)["jobs"][0]["read"]
        self.assertGreater(job["total_ios"], 0)
        self.assertLessEqual(job["total_ios"], 50 * job["runtime"] / 1000 + 20)

    def test_iser_limits(self):
        self.target_class = IserTarget
        self.target("--lun", "ram:1MiB", "--control", self.control)
        self.check_limits(f"{IQN}/0", IQN, "initiators",
                          ["qos", "initiator", IQN, "--initiator", "*"])

    def test_nvme(self):
        self.target(*self.storage, "--control", self.control)
        self.check("mrpool-nvmf-target")

    def test_iser(self):
        self.target_class = IserTarget
        self.target("--lun", "ram:1MiB", "--control", self.control)
        self.check("mrpool-iser-target")


if __name__ == "__main__":
    sys.exit(unittest.main())
