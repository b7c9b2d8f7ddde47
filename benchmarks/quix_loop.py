"""The same ops in Quix Streams, as its documentation would have one write it: an optional peer of `bench_merge`.

It has an environment of its own, for it pins other clients than ours. `make quix` makes one; the cases that need it say so where it is missing.
Runs there as a script, with nothing of Driftlog at hand:

    QUIX_PYTHON benchmarks/quix_loop.py BOOTSTRAP OPS_TOPIC FOLDER

State is kept by the key of a message, so a record's key is its partition and the documents are keys within that. Dedupe is by (replica, seq)
in the document's own state; between a state's write and the commit a crash can count twice.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import fastavro
from quixstreams import Application

COMMIT_SECONDS = 1.0


def main() -> None:
    bootstrap, source, folder = sys.argv[1:]
    schema = fastavro.parse_schema(json.loads((Path(__file__).parent / "plain_ops.avsc").read_text()))
    app = Application(
        broker_address=bootstrap,
        consumer_group=source,
        auto_offset_reset="earliest",
        state_dir=folder,
        commit_interval=COMMIT_SECONDS,
        loglevel="ERROR",
    )
    topic = app.topic(source, key_deserializer="bytes", value_deserializer="bytes")

    def merge(value: bytes, state: Any) -> None:
        record: Any = fastavro.schemaless_reader(io.BytesIO(value), schema, None)
        replica = record["replica"]
        for op in record["ops"]:
            known = state.get(op["key"]) or {"count": 0, "label": "", "clock": -1, "writer": "", "seen": {}}
            if known["seen"].get(replica, 0) >= op["seq"]:
                continue
            known["seen"][replica] = op["seq"]
            given = op["value"]
            if isinstance(given, int):
                known["count"] += given
            elif (op["clock"], replica) > (known["clock"], known["writer"]):
                known.update(label=given, clock=op["clock"], writer=replica)
            state.set(op["key"], known)

    app.dataframe(topic).update(merge, stateful=True)
    app.run()


if __name__ == "__main__":
    main()
