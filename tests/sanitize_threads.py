"""Builds kernels and pools with ThreadSanitizer and runs the programs of tests/native on them.

Run it with `make sanitize`. libtorch is not instrumented, so what waits in its own thread pool
cannot be seen; the programs bring threads of their own.
"""

from __future__ import annotations

import os
import shutil
import subprocess

from sanitize import ROOT, configured, tool

BUILD = ROOT / "build" / "sanitize-threads"
PROGRAMS = ("kernel_threads", "pool_threads")


def fixed_addresses() -> list[str]:
    """What runs a program without random addresses, where the system lets one.

    The checker needs its own places in memory, which full randomization may take.
    """
    command = ["setarch", os.uname().machine, "-R"]
    if shutil.which("setarch") is None:
        return []
    allowed = subprocess.run([*command, "true"], capture_output=True, check=False)
    return command if allowed.returncode == 0 else []


def main() -> None:
    """Build and run; exits with an error at the first race or wrong result."""
    configure = configured(
        BUILD, "thread", "-DIPEX_QUANT_NATIVE_TESTS=ON", "-DIPEX_QUANT_EMULATE=ON"
    )
    subprocess.run(configure, check=True)
    subprocess.run([tool("cmake"), "--build", str(BUILD), "--target", *PROGRAMS], check=True)
    environment = dict(os.environ, TSAN_OPTIONS="halt_on_error=1 second_deadlock_stack=1")
    start = [[*fixed_addresses(), str(BUILD / "tests" / "native" / name)] for name in PROGRAMS]
    planted = subprocess.run(
        [*start[0], "conv"], env=environment, capture_output=True, text=True, check=False
    )
    if planted.returncode == 0 or "data race" not in planted.stderr:
        raise SystemExit(
            "two threads wrote one result and nothing was reported; the programs would prove "
            f"nothing: {planted.stdout}{planted.stderr}"
        )
    for command in start:
        subprocess.run(command, env=environment, check=True)


if __name__ == "__main__":
    main()
