"""A key for one I/O against a copy into memory that is registered for good (uiwarp_bench.cc)."""

TITLE = "Registration: lease, map, register, invalidate, return; against a bounce copy"
PROGRAMS = ("uiwarp_bench",)
SIZES = {"4 KiB": 4096, "128 KiB": 128 << 10, "1 MiB": 1 << 20}


def sample(group, name, size):
    argv = group.command("uiwarp_bench", "register", "--size", size, "--seconds",
                         0.3 if group.quick else 1)
    result = group.run(argv)
    group.sample(f"uiwarp key for one I/O:{name}", result["register_ns"], "ns", argv)
    group.sample(f"bounce copy:{name}", result["copy_ns"], "ns", argv)


def measure(group):
    group.in_rounds([lambda name=name, size=size: sample(group, name, size)
                     for name, size in SIZES.items()])
    for name in SIZES:
        ours, copy = f"uiwarp key for one I/O:{name}", f"bounce copy:{name}"
        group.row(f"{name}: key for one I/O / bounce copy", ours, copy)
        group.order.append({"title": name, "series": [ours, copy], "log": False,
                            "labels": ["mrpool: key for one I/O", "bounce copy"]})
    group.notes.append("registering the memory per I/O with ibv_reg_mr needs a kernel device; "
                       "tests/vm boots one")
