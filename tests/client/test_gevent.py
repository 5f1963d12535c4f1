"""The client in greenlets: in a process of its own, which gevent has patched."""

import subprocess
import sys

import pytest

from tests.client.proxy import Proxy
from tests.system.server import ROOT, ServerProcess

PROGRAM = """
from gevent import monkey
monkey.patch_all()
import sys
import time
from contextlib import closing
import gevent
from gobbler.client import Client, Settings

url, topic = sys.argv[1:]
COUNT = 10_000


def tick():
    # Nothing of the client may hold up other greenlets.
    while True:
        begun = time.monotonic()
        gevent.sleep(0.001)
        gaps.append(time.monotonic() - begun)


def read(subscription, count):
    return [next(subscription).text for _ in range(count)]


gaps = []
ticking = gevent.spawn(tick)
settings = Settings(first_delay=0.001, longest_delay=0.02)
with closing(Client(url, settings=settings, resend=True, timeout=60)) as client:
    client.connect(60, retry=True)  # the first connections may be cut before they are of use
    seen = []
    client.subscribe(topic, 0, callback=lambda message: seen.append(message.text))
    readers = [gevent.spawn(read, client.subscribe(topic, 0), COUNT) for _ in range(3)]
    publishers = [gevent.spawn(client.publish, topic + "/more", str(n), timeout=60) for n in range(100)]
    for number in range(COUNT):
        client.publish_nowait(topic + "/numbers", str(number))
    client.flush()
    gevent.joinall(publishers, timeout=60, raise_error=True)
    assert [each.get(timeout=60) for each in readers].count(readers[0].value) == 3
    numbers = {message.text for message in client.fetch(topic + "/numbers", 0, 100_000)}
    assert numbers == {str(number) for number in range(COUNT)}
    assert client.rest.health() == {}
    while len(seen) < COUNT + 100:
        gevent.sleep(0.01)
ticking.kill()
assert len(gaps) > 5, gaps
print(f"ok, longest gap {max(gaps):.3f} s")
"""


@pytest.mark.parametrize("cut", [False, True], ids=["quiet", "with cut connections"])
def test_in_greenlets(server: ServerProcess, topic: str, cut: bool) -> None:
    with Proxy(server.port) as proxy:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PROGRAM, proxy.url, topic],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        cuts = 0
        while cut and cuts < 10:
            try:
                process.wait(0.03)
                break
            except subprocess.TimeoutExpired:
                cuts += proxy.cut()
        output, _ = process.communicate(timeout=60)
    assert output.startswith("ok, "), output
    assert not cut or cuts
