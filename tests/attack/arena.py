"""Where attacks take place: a daemon, an honest host with verified I/O on it, and attackers.

Each attack has to end with the attacker cut off, or refused as the specification names. Meanwhile the
honest host's I/O goes on, which a witness sees after each attack where the daemon counts it; at the
end it must have seen no error, and the daemon's memory and descriptors must be bounded; the figures
are printed.
"""
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
from harness import MEASURED, PATIENCE, descriptors, resident  # pylint: disable=wrong-import-position
from iwarp import Cut  # pylint: disable=wrong-import-position


def run(attacks, helper, options, names, most_growth, witness_class=None):
    """Runs the attacks called `names` (all without any) on a target of `helper`'s class.

    `witness_class` is made with the daemon's port; its more() waits for the honest host's next I/O
    and says how many there were. `most_growth` is what the daemon's limits allow its resident memory to
    grow by, in bytes, whatever comes in: its staging memory and as many connections as it takes.
    """
    chosen = [a for a in attacks if not names or a.__name__ in names]
    unknown = set(names) - {a.__name__ for a in attacks}
    if unknown:
        sys.exit(f"{unknown}: no such attack; there are {[a.__name__ for a in attacks]}")
    failed = []
    with tempfile.TemporaryDirectory(prefix="mrpool-") as folder:
        target = helper.target_class(folder, *options, env=MEASURED)
        try:
            warm, _ = helper.perf(target, "--rw", "randrw", "--bs", "4k", "--iodepth", "32",
                                  "--time_based", "--runtime", "1", "--verify", "crc32c")
            helper.assertEqual(warm["verify_errors"], 0)
            before, open_before = resident(target.process.pid), descriptors(target.process.pid)
            peak = before
            honest = helper.start("perf", target, *helper.name, "--rw", "randrw", "--bs", "4k",
                                  "--iodepth", "8", "--time_based", "--runtime", "600", "--verify", "crc32c",
                                  "--rate_iops", "500", "--output-format", "json",
                                  "--group_reporting", "--eta", "never")
            witness = witness_class(target.port) if witness_class else None
            if witness:
                witness.more()
            for attack in chosen:
                try:
                    result = attack(target.port)
                    if witness:
                        result += f"; the honest host did {witness.more()} I/Os meanwhile"
                except (AssertionError, Cut, OSError, IndexError) as error:
                    failed.append(attack.__name__)
                    result = f"FAILED: {type(error).__name__} {error}"
                peak = max(peak, resident(target.process.pid))
                print(f"{attack.__name__:24} {result}", flush=True)
            if witness:
                witness.close()
            honest.send_signal(2)
            out, err = honest.communicate(timeout=PATIENCE)
            helper.assertEqual(honest.returncode, 0, err + out)
            job, own = helper.job_of(out)
            helper.assert_verified(job, own)
            time.sleep(1)
            after, open_after = resident(target.process.pid), descriptors(target.process.pid)
            print(f"honest host: {job['verified']} blocks verified, no errors")
            print(f"daemon: resident {before >> 10} KiB before, {peak >> 10} KiB at most, "
                  f"{after >> 10} KiB after; descriptors {open_before} before, {open_after} after")
            helper.assertLess(peak - before, most_growth)
            status = target.stop()
            helper.assertEqual(status, 0, target.output())
            helper.assertRegex(target.output(), "MRs in use: 0 ")
            helper.assertNotRegex(target.output(), r"[^\n -~]", "the log has more than text")
        finally:
            target.kill()
    if failed:
        sys.exit(f"attacks that got through or ended wrongly: {', '.join(failed)}")
