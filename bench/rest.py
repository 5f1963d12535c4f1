"""Publishing over REST, with wrk as the client."""

import json
import shutil
import subprocess
from pathlib import Path

from bench.errors import BenchError, CheckFailed

SCRIPT = Path(__file__).with_name("rest.lua")


def publishes_per_second(port: int, connections: int, seconds: int) -> float:
    """The rate of successful `POST /api/message/rest` over so many keep-alive connections.

    Raises:
        BenchError: wrk is not installed or cannot reach the server.
        CheckFailed: a request failed.
    """
    program = shutil.which("wrk")
    if program is None:
        raise BenchError("install wrk (Debian: apt-get install wrk), or choose other shapes with --only")
    url = f"http://127.0.0.1:{port}/api/message/rest"
    arguments = [program, "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(SCRIPT), url]
    wrk = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if wrk.returncode:
        raise BenchError(f"wrk: {wrk.stderr.strip() or wrk.stdout.strip()}")
    summary = json.loads(wrk.stdout.splitlines()[-1])
    if summary["failed"] or not summary["requests"]:
        raise CheckFailed(f"{summary['failed']} of {summary['requests']} REST publishes failed")
    return float(summary["requests"] / summary["seconds"])
