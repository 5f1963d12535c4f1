"""gevent's patches: made, with the plugins that are installed, without searching for them again and again."""

import json
import subprocess
import sys
from pathlib import Path

from tests.system.server import ROOT

PROGRAM = """
import json
from importlib import metadata

looked = []
find = metadata.entry_points

def entry_points(**parameters):
    looked.append(parameters)
    return find(**parameters)

metadata.entry_points = entry_points
from gobbler.patching import patch

patch()
from gevent.monkey import is_module_patched
import a_plugin

names = ["socket", "select", "threading", "ssl", "subprocess", "time"]
patched = [name for name in names if is_module_patched(name)]
print(json.dumps([len(looked), patched == names, a_plugin.told, metadata.entry_points is entry_points]))
"""


def test_plugins_are_looked_for_once(tmp_path: Path) -> None:
    (tmp_path / "a_plugin.py").write_text("told = []\n\ndef tell(event): told.append(type(event).__name__)\n")
    installed = tmp_path / "a_plugin-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: a-plugin\nVersion: 1\n")
    points = "[gevent.plugins.monkey.did_patch_all]\ntell = a_plugin:tell\n"
    (installed / "entry_points.txt").write_text(points)
    paths = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=paths, capture_output=True, timeout=60, check=True
    )
    assert json.loads(done.stdout) == [1, True, ["GeventDidPatchAllEvent"], True]
