"""The same where the edge's folder is encrypted, given another key, and made unreadable."""

from __future__ import annotations

from tests.mutation.rims.mistake import EDGE, Mistake

CIPHER = ("tests/unit/edge/at_rest/test_cipher.py",)
FOLDER = ("tests/unit/edge/at_rest/test_folder.py",)
ROTATION = ("tests/unit/edge/at_rest/test_rotation.py",)
WIPE = ("tests/unit/edge/at_rest/test_wipe.py",)
WIPING = ("tests/unit/edge/test_wiping.py",)
WRAPPING = ("tests/unit/edge/at_rest/test_wrapping.py",)

AT_REST: tuple[Mistake, ...] = (
    # -- values
    Mistake(
        "at rest: a value opens in another family",
        f"{EDGE}/store/cipher.py",
        '{family: family.value.encode() + b"\\x00" for family in Family}',
        '{family: b"" for family in Family}',
        CIPHER,
    ),
    Mistake(
        "at rest: every run counts its nonces from the same place",
        f"{EDGE}/store/cipher.py",
        "count(int.from_bytes(os.urandom(_NONCE_BYTES)))",
        "count()",
        CIPHER,
    ),
    Mistake(
        "at rest: a nonce serves twice",
        f"{EDGE}/store/cipher.py",
        "next(self._nonces)",
        "1",
        CIPHER,
    ),
    Mistake(
        "at rest: values are written as they are",
        f"{EDGE}/store/rocks.py",
        "batch.put(key, seal(family, key, value), handles[family])",
        "batch.put(key, value, handles[family])",
        FOLDER,
    ),
    Mistake(
        "at rest: what was there before a write is given as it lies there",
        f"{EDGE}/store/before.py",
        "return self._opened(family, key, sealed)",
        "return sealed",
        ("tests/unit/edge/rim/test_durability.py",),
    ),
    # -- keys
    Mistake(
        "at rest: a folder without its key gets another",
        f"{EDGE}/store/key_file.py",
        "if not is_empty():",
        "if False:",
        FOLDER,
    ),
    Mistake(
        "at rest: a key that was wrapped is followed by one that lies open",
        f"{EDGE}/store/key_file.py",
        "if self.newest.by and not wrapping:",
        "if False:",
        ROTATION,
    ),
    Mistake(
        "at rest: the key file of before stays on the disk",
        f"{EDGE}/store/key_file.py",
        "private_file.overwrite(before.fileno())",
        "pass",
        FOLDER,
    ),
    Mistake(
        "at rest: what a write that was cut off has left stays on the disk",
        f"{EDGE}/store/key_file.py",
        "            self._clear()\n",
        "",
        FOLDER,
    ),
    Mistake(
        "at rest: a key file that a power cut may take back is written under",
        "schemas/driftlog_schemas/private_file.py",
        "            sync_folder(path.parent)\n",
        "",
        FOLDER,
    ),
    Mistake(
        "at rest: a folder that was open stays under its key when one is set that wraps",
        f"{EDGE}/store/key_file.py",
        "self.newest.by != wraps or ",
        "",
        ROTATION,
    ),
    Mistake(
        "at rest: a key file that all may read is used",
        f"{EDGE}/store/wrapping.py",
        "    if loose:",
        "    if False:",
        WRAPPING,
    ),
    Mistake(
        "at rest: what a command started outlives it",
        f"{EDGE}/programs.py",
        "os.killpg(transport.get_pid(), signal.SIGKILL)",
        "transport.kill()",
        WRAPPING,
    ),
    Mistake(
        "at rest: the exit code of the command does not count",
        f"{EDGE}/programs.py",
        "    if code != 0:",
        "    if False:",
        WRAPPING,
    ),
    # -- another key
    Mistake(
        "rotation: what is written meanwhile is written over",
        f"{EDGE}/store/rocks.py",
        "with self._writing:  # what it writes back",
        "with suppress():  # what it writes back",
        ROTATION,
    ),
    Mistake(
        "rotation: overwritten values stay in the files",
        f"{EDGE}/store/rotation.py",
        "        await asyncio.to_thread(self._store.reclaim, tuple(Family))\n",
        "",
        ROTATION,
    ),
    Mistake(
        "rotation: cut off, it is left as it is",
        f"{EDGE}/store/rotation.py",
        "                if self._store.keys.rotating:\n",
        "                if self._asked.is_set():\n",
        ROTATION,
    ),
    Mistake(
        "rotation: asked for while one is under way it begins another",
        f"{EDGE}/store/rotation.py",
        "            if not self._store.keys.rotating:\n",
        "            if True:\n",
        ROTATION,
    ),
    Mistake(
        "rotation: a damaged value ends it",
        f"{EDGE}/store/rocks.py",
        "with _told_if_damaged():",
        "with suppress():",
        ROTATION,
    ),
    Mistake(
        "rotation: the old key goes before its last value",
        f"{EDGE}/store/rotation.py",
        "            while start is not None:",
        "            if start is not None:",
        ROTATION,
    ),
    # -- the end
    Mistake(
        "wipe: the data key goes with the data",
        f"{EDGE}/wiping/destruction.py",
        "    for path in key_file.files_in(folder):\n        yield from _shred(path, refused)\n",
        "",
        WIPE,
    ),
    Mistake(
        "wipe: a key file that was cut off is overlooked",
        f"{EDGE}/store/key_file.py",
        'folder.glob(f"*{NAME}*")',
        "folder.glob(NAME)",
        WIPE,
    ),
    Mistake(
        "wipe: a rotation may write a key behind it",
        f"{EDGE}/agent_life.py",
        "        self._rotation.forbid()\n",
        "",
        WIPING,
    ),
    Mistake(
        "wipe: a key file that is closed is written",
        f"{EDGE}/store/key_file.py",
        "        if self._closed:",
        "        if False:",
        WIPE,
    ),
)
