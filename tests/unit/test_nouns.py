import subprocess
import sys

RACE = """
import importlib, pkgutil, threading
import msgspec
import nightdesk.model as model
for module in pkgutil.iter_modules(model.__path__):
    importlib.import_module("nightdesk.model." + module.name)
from nightdesk.model.base import Noun, prepare_nouns
prepare_nouns()
def all_of(noun):
    return [noun, *(each for sub in noun.__subclasses__() for each in all_of(sub))]
start = threading.Barrier(8)
def read():
    start.wait()
    for noun in all_of(Noun):
        try:
            msgspec.json.decode(b"{}", type=noun)
        except msgspec.ValidationError:
            pass
threads = [threading.Thread(target=read) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


def test_threads_may_decode_the_same_nouns_once_they_are_prepared() -> None:
    for _ in range(3):
        assert subprocess.run([sys.executable, "-c", RACE], check=False).returncode == 0
