"""A registry that gives ids in the order of asking, as registries do: emptied, it gives them anew."""

from __future__ import annotations

import json

from tests.unit.schemas.odd_registry import Answer, data, refusal


class Counting:
    """What it is asked, answered; `texts` are the schemas that it knows."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, method: str, path: str, body: str) -> Answer:
        if path.startswith("/schemas/ids/"):
            wanted = int(path.rpartition("/")[2])
            known = wanted <= len(self.texts)
            return data({"schema": self.texts[wanted - 1]}) if known else refusal(404, 40403, "Schema not found")
        if method == "GET":
            return refusal(404, 40401, "Subject not found")
        text = json.loads(body)["schema"]
        if text not in self.texts and path.endswith("/versions"):
            self.texts.append(text)
        if text not in self.texts:
            return refusal(404, 40401, "Subject not found")
        return data({"subject": "s", "version": 1, "id": self.texts.index(text) + 1, "schema": text})
