#!/usr/bin/env python3
"""What nvcc made of the kernels, without a GPU.

    plugin_test.py PLUGIN PTX

The plug-in needs libc and what the CUDA runtime has, and exports one function.  The PTX, from which
all machine code comes, has every kernel, and in none a fused multiply-add, a flush to zero or an
approximation: division and roots are those that round correctly.  Exit 1 when not so.
"""
import re
import subprocess
import sys

KERNELS = ("gpu_load", "gpu_store", "gpu_pack_bf16", "gpu_terms", "gpu_finite",
           "gpu_adamw")
FORBIDDEN = (r"\bfma\.", r"\bmad\.[a-z.]*f(32|64)", r"\.ftz\b", r"\.approx\b", r"\.full\b")
RUNTIME = re.compile(r"(__)?cuda[A-Z]")


def output(*command):
    return subprocess.run(command, text=True, check=True, stdout=subprocess.PIPE).stdout


def symbol_faults(plugin):
    needed = re.findall(r"NEEDED.*\[(.*)\]", output("readelf", "-d", plugin))
    yield from (f"it needs {n}" for n in needed if not n.startswith(("libc.so", "ld-linux")))
    defined = output("nm", "-D", "--defined-only", plugin).split("\n")
    names = [line.split()[2] for line in defined if line]
    if names != ["rk_gpu_kernels"]:
        yield f"it exports {names}, not rk_gpu_kernels alone"
    for line in output("nm", "-D", "--undefined-only", plugin).splitlines():
        kind, name = line.split()
        if kind == "U" and "@GLIBC" not in name and not RUNTIME.match(name):
            yield f"{name} comes from neither libc nor the CUDA runtime"


def ptx_faults(path):
    with open(path, encoding="utf-8") as f:
        ptx = f.read()
    yield from (f"kernel {k} is missing" for k in KERNELS if f".entry {k}(" not in ptx)
    for pattern in FORBIDDEN:
        yield from (f"PTX has '{line.strip()}'" for line in ptx.splitlines()
                    if re.search(pattern, line) and not line.lstrip().startswith("//"))
    for wanted in ("div.rn.f32", "sqrt.rn.f32"):
        if wanted not in ptx:
            yield f"PTX has no {wanted}"


def main(argv):
    if len(argv) != 3:
        print("usage: plugin_test.py PLUGIN PTX", file=sys.stderr)
        return 64
    faults = [*symbol_faults(argv[1]), *ptx_faults(argv[2])]
    print("\n".join(f"{argv[1]}: {fault}" for fault in faults) or "plugin: as it must be")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
