"""Runs one module of rdma-core's tests; by pyverbs_test.py, under mrpool-run.

    pyverbs_inner.py FOLDER MODULE

Prints a line for each test: result, name, and why where it did not pass.
"""
import random
import sys
import unittest


class Result(unittest.TestResult):
    def say(self, word, test, why=""):
        name = test.id().removeprefix("tests.")
        last = why.strip().splitlines()[-1] if why.strip() else ""
        print(f"RESULT\t{word}\t{name}\t{last[:300]}", flush=True)

    def addSuccess(self, test):
        self.say("ok", test)

    def addSkip(self, test, reason):
        self.say("skip", test, reason)

    def addError(self, test, err):
        self.say("error", test, f"{err[0].__name__}: {err[1]}")

    def addFailure(self, test, err):
        self.say("failure", test, f"{err[0].__name__}: {err[1]}")


def main():
    folder, module = sys.argv[1:]
    sys.path.insert(0, folder)
    sys.path.insert(0, folder + "/tests")
    # The tests choose attributes at random; each run is to choose the same.
    random.seed(1)
    from args_parser import parser
    sys.argv[1:] = ["--dev", "uiwarp0"]
    parser.parse_args()
    import tests.base
    # They look for the device's network interface in sysfs, where uiwarp has no entry.
    tests.base.RDMATestCase._get_ip_mac = lambda self, dev, port, idx: self.args.append(
        [dev, port, idx, "127.0.0.1", "00:00:00:00:00:00"])
    unittest.defaultTestLoader.loadTestsFromName(f"tests.{module}").run(Result())


if __name__ == "__main__":
    main()
