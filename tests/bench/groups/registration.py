"""A key for one I/O against a copy into memory that is registered for good, and, in a virtual machine
that has a kernel device, against ibv_reg_mr for that I/O (uiwarp_bench.cc)."""
import json
import pathlib
import subprocess

TITLE = "Registration: lease, map, register, invalidate, return; against a bounce copy, ibv_reg_mr"
PROGRAMS = ("uiwarp_bench",)
SIZES = {"4 KiB": 4096, "128 KiB": 128 << 10, "1 MiB": 1 << 20}


def sample(group, name, size):
    argv = group.command("uiwarp_bench", "register", "--size", size, "--seconds",
                         0.3 if group.quick else 1)
    result = group.run(argv)
    group.sample(f"uiwarp key for one I/O:{name}", result["register_ns"], "ns", argv)
    group.sample(f"bounce copy:{name}", result["copy_ns"], "ns", argv)


def in_vm(group):
    """Both in one virtual machine: software emulation, so the ratio counts and no absolute figure."""
    argv = ["tests/vm/run", "--bin", group.bin, "registration"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {(done.stdout + done.stderr)[-2000:]}")
    names = {size: name for name, size in SIZES.items()}
    lines = pathlib.Path("build/vm/results/registration.json").read_text(encoding="ascii")
    for line in lines.splitlines():
        result = json.loads(line)
        name = names[result["size"]]
        group.sample(f"VM, uiwarp key:{name}", result["ours"]["register_ns"], "ns", argv)
        group.sample(f"VM, ibv_reg_mr:{name}", result["verbs"]["reg_mr_ns"], "ns", argv)


def measure(group):
    group.in_rounds([lambda name=name, size=size: sample(group, name, size)
                     for name, size in SIZES.items()])
    for name in SIZES:
        ours, copy = f"uiwarp key for one I/O:{name}", f"bounce copy:{name}"
        group.row(f"{name}: key for one I/O / bounce copy", ours, copy)
        group.order.append({"title": name, "series": [ours, copy], "log": False,
                            "labels": ["mrpool: key for one I/O", "bounce copy"]})
    if group.quick:
        group.notes.append("ibv_reg_mr per I/O needs a kernel device: not with --quick")
        return
    in_vm(group)
    for name in SIZES:
        group.row(f"{name}: key for one I/O / ibv_reg_mr on rxe, both in the VM",
                  f"VM, uiwarp key:{name}", f"VM, ibv_reg_mr:{name}")
