"""What is given back of the libraries' pages: those that come back as they were, and no others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from driftlog_edge.code_pages import clean, give_back, stable

MAPPINGS = """\
55d0c8e00000-55d0c8e21000 rw-p 00000000 00:00 0                          [heap]
Rss:                 132 kB
Anonymous:           132 kB
7f1a00000000-7f1a00010000 r-xp 00001000 08:01 4242                       /usr/lib/libcode.so
Rss:                  64 kB
Anonymous:             0 kB
7f1a00010000-7f1a00014000 r--p 00011000 08:01 4242                       /usr/lib/libcode.so
Rss:                  16 kB
Anonymous:             4 kB
7f1a00014000-7f1a00018000 rw-p 00015000 08:01 4242                       /usr/lib/libcode.so
Rss:                   4 kB
Anonymous:             0 kB
7f1a00018000-7f1a00020000 r--p 00000000 08:01 4243                       /srv/a file with spaces
Rss:                  32 kB
Anonymous:             0 kB
7f1a00020000-7f1a00030000 r--s 00000000 08:01 4244                       /srv/shared
Rss:                  32 kB
Anonymous:             0 kB
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0                          [vdso]
Rss:                   8 kB
Anonymous:             0 kB
"""


def test_only_what_is_as_in_its_file_and_stays_so_is_given_back() -> None:
    found = list(clean(MAPPINGS.splitlines()))
    assert found == [(0x7F1A00000000, 0x7F1A00010000), (0x7F1A00018000, 0x7F1A00020000)]


LOADING = """\
7f1a00030000-7f1a00060000 r--p 00000000 08:01 4245                       /usr/lib/libloading.so
Rss:                   4 kB
Anonymous:             0 kB
"""


@pytest.mark.parametrize("loading", [0, 1])
def test_what_the_loader_is_about_to_lay_over_is_not_given_back(loading: int) -> None:
    looks = [MAPPINGS, MAPPINGS]
    looks[loading] += LOADING
    assert stable(iter(looks).__next__) == list(clean(MAPPINGS.splitlines()))


IN_A_PROCESS = """
import re
from pathlib import Path
from rocksdict import Options, Rdict
from driftlog_edge.code_pages import give_back

def resident():
    mapped, kib = False, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match("[0-9a-f]+-", line):
            mapped = " r-xp " in line and "rocksdict" in line
        elif mapped and line.startswith("Rss:"):
            kib += int(line.split()[1])
    return kib

def write_and_read():
    with_some = Rdict("store", Options(raw_mode=True))
    with_some[b"a"] = b"1"
    found = with_some[b"a"]
    with_some.close()
    return found

assert write_and_read() == b"1"
before = resident()
give_back()
assert resident() == 0 < before, (resident(), before)
assert write_and_read() == b"1"
assert 0 < resident() < before
"""


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="there is no list of mappings here")
def test_the_code_of_a_library_is_given_back_and_comes_back(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS], check=False, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_where_there_is_no_list_of_mappings_nothing_is_done(tmp_path: Path) -> None:
    give_back(tmp_path / "smaps")
