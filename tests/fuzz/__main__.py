"""The command line of the fuzzer: exit status 0 when nothing was found, 1 with a finding."""

import argparse
import random

from tests.fuzz.fuzzer import Finding, fuzz, try_one
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Fuzz for some seconds, or check one input again."""
    options = argparse.ArgumentParser(prog="python -m tests.fuzz", description=main.__doc__)
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="repeats a run")
    options.add_argument("--target", action="append", choices=TARGETS, help="only this one (repeatable)")
    options.add_argument("--replay", nargs=2, metavar=("TARGET", "HEX"), help="check one input")
    chosen = options.parse_args()
    try:
        if chosen.replay:
            name, data = chosen.replay
            try_one(name, TARGETS[name], bytes.fromhex(data))
            return 0
        print(f"--seed {chosen.seed}", flush=True)
        names = chosen.target or TARGETS
        counts = fuzz({name: TARGETS[name] for name in names}, chosen.seconds, chosen.seed)
    except Finding as finding:
        print(finding)
        return 1
    print(", ".join(f"{name}: {count} inputs" for name, count in counts.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
