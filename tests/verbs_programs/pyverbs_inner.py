"""Runs tests of rdma-core, or lists them; by pyverbs_test.py, under mrpool-run.

    pyverbs_inner.py FOLDER NAME
    pyverbs_inner.py FOLDER --list MODULE...

NAME is a module or one of its tests. Prints a line for each test: result, name, and why where it did
not pass; with --list, the names of the modules' tests.
"""
import random
import sys
import unittest


class Result(unittest.TestResult):
    def say(self, word, test, why=""):
        last = why.strip().splitlines()[-1] if why.strip() else ""
        print(f"RESULT\t{word}\t{name_of(test)}\t{last[:300]}", flush=True)

    def addSuccess(self, test):
        self.say("ok", test)

    def addSkip(self, test, reason):
        self.say("skip", test, reason)

    def addError(self, test, err):
        self.say("error", test, f"{err[0].__name__}: {err[1]}")

    def addFailure(self, test, err):
        self.say("failure", test, f"{err[0].__name__}: {err[1]}")


def name_of(test):
    return test.id().removeprefix("tests.")


def load(name):
    return unittest.defaultTestLoader.loadTestsFromName(f"tests.{name}")


def names(suite):
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from names(each)
        else:
            yield name_of(each)


def main():
    folder, *wanted = sys.argv[1:]
    sys.path.insert(0, folder)
    sys.path.insert(0, folder + "/tests")
    # The tests choose attributes at random; each run is to choose the same.
    random.seed(1)
    from args_parser import parser
    sys.argv[1:] = ["--dev", "uiwarp0"]
    parser.parse_args()
    if wanted[0] == "--list":
        print(*(test for module in wanted[1:] for test in names(load(module))), sep="\n")
        return
    import tests.base
    # They look for the device's network interface in sysfs, where uiwarp has no entry.
    tests.base.RDMATestCase._get_ip_mac = lambda self, dev, port, idx: self.args.append(
        [dev, port, idx, "127.0.0.1", "00:00:00:00:00:00"])
    load(wanted[0]).run(Result())


if __name__ == "__main__":
    main()
