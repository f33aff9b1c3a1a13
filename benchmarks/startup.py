"""`frostline --help` against the interpreter alone.

    python benchmarks/startup.py

Prints the median seconds of `frostline --help`, of an empty Python program in the same run, and
their ratio; the goal is under 0.5 s.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 7


def main() -> None:
    """Measure in turn and print."""
    commands = {
        "frostline --help": [sys.executable, "-m", "frostline", "--help"],
        "python -c pass": [sys.executable, "-c", "pass"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(RUNS):
        for name, command in commands.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            times[name].append(time.perf_counter() - start)
    ours, bare = (statistics.median(values) for values in times.values())
    print(f"frostline --help: {ours:.3f} s; python -c pass: {bare:.3f} s; ratio {ours / bare:.1f}")


if __name__ == "__main__":
    main()
