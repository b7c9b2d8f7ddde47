"""The retail day, told while it happens.

Two stores and a head office share their stock. Goods arrive, things are sold, store-1 loses its network and goes on selling, and
two people change the same price without knowing of each other. At the end every replica and the read-model topic must
say the same, to the unit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from rich.console import Console

from driftlog.demo import forgery, read_model
from driftlog.demo.cast import EDGES, Cast
from driftlog.demo.processes import DemoFailed, until
from driftlog.demo.shops import Shop
from driftlog_crdt.hlc import millis
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.registry import CachedRegistry

DOCUMENTS = (("store-1", "tea"), ("store-1", "coffee"), ("store-2", "tea"))
EXPECTED = {("store-1", "tea"): 40 - 3 - 5 - 2, ("store-1", "coffee"): 25 - 4, ("store-2", "tea"): 30 - 6}
READ_MODEL = "read model"


@dataclass
class Outcome:
    """How the day ended. `cells[where][document]` is what that place shows."""

    cells: dict[str, dict[tuple[str, str], dict[str, Any]]] = field(default_factory=dict)
    conflict: dict[str, Any] = field(default_factory=dict)
    forged: dict[str, str] = field(default_factory=dict)
    refused: str = ""

    @property
    def agree(self) -> dict[tuple[str, str], bool]:
        """Does every place show the same, and exactly what was counted by hand?"""
        return {
            document: len({repr(sorted(self.cells[place][document].items())) for place in self.cells}) == 1
            and self.cells[READ_MODEL][document]["on_hand"] == EXPECTED[document]
            for document in DOCUMENTS
        }

    @property
    def good(self) -> bool:
        return all(self.agree.values()) and bool(self.conflict) and self.forged.get("code") == "bad_signature"


class RetailDay:
    """Plays the story over a cast that is up."""

    def __init__(self, cast: Cast, console: Console) -> None:
        self._cast = cast
        self._console = console
        self._one, self._two, self._office = (cast.shops[name] for name in EDGES)
        self._outcome = Outcome()
        self._ids = CachedRegistry(cast.registry, cast.folder / "demo-schemas")

    def play(self) -> Outcome:
        """The whole day. Raises `DemoFailed` when something that should happen does not."""
        self._morning()
        self._cut_off()
        self._forged()
        self._back()
        self._evening()
        return self._outcome

    def _morning(self) -> None:
        self._act("08:00  Goods arrive")
        self._one.do("receive", store="store-1", sku="tea", qty=40, name="Green tea")
        self._one.do("receive", store="store-1", sku="coffee", qty=25, name="Coffee")
        self._two.do("receive", store="store-2", sku="tea", qty=30, name="Green tea")
        self._say("store-1 takes in 40 tea and 25 coffee, store-2 takes in 30 tea")
        self._office.do("set_price", store="store-1", sku="tea", price="4.50")
        self._say("head office sets the price of store-1's tea: 4.50")
        for shop in (self._one, self._two, self._office):
            self._sees(shop, "store-1", "tea", on_hand=40, price="4.5")
        self._say("every edge sees it, from its own replica")
        self._act("10:00  Sales")
        self._one.do("sell", store="store-1", sku="tea", qty=3)
        self._two.do("sell", store="store-2", sku="tea", qty=6)
        self._sees(self._office, "store-1", "tea", on_hand=37)
        self._sees(self._office, "store-2", "tea", on_hand=24)
        self._say("store-1 sells 3 tea, store-2 sells 6; head office sees 37 and 24")

    def _cut_off(self) -> None:
        self._act("11:30  store-1 loses its network")
        self._one.offline(True)
        until("store-1 to notice", lambda: self._one.status()["connection"] == "OFFLINE", self._cast.children)
        left = self._one.do("sell", store="store-1", sku="tea", qty=5)
        self._one.do("sell", store="store-1", sku="coffee", qty=4)
        left = self._one.do("sell", store="store-1", sku="tea", qty=2)
        self._say(f"it goes on selling: 5 tea, 4 coffee, 2 tea; its own replica says {left} tea are left")
        self._outcome.refused = self._one.refused("sell", store="store-1", sku="coffee", qty=500)
        self._say(f"500 coffee it refuses at once, with no one to ask: {self._outcome.refused}")
        self._one.do("set_price", store="store-1", sku="tea", price="4.20")
        self._office.do("set_price", store="store-1", sku="tea", price="4.90")
        self._sees(self._two, "store-1", "tea", price="4.9")
        self._say("store-1 marks its tea down to 4.20; head office, not knowing, raises it to 4.90")
        pending = self._one.status()["pending"]
        seen = self._require(self._office.stock("store-1", "tea"))["value"]["on_hand"]
        self._say(f"store-1 has {pending} commands waiting; head office still sees {seen} tea")

    def _forged(self) -> None:
        self._act("12:00  Somebody forges a delivery")
        space = self._cast.contract.spaces["retail"]
        notice = forgery.forge(
            self._cast.identities["store-2"],
            "retail",
            space.partitions,
            "store-2",
            "tea",
            self._ids,
            self._cast.bootstrap,
        )
        self._outcome.forged = {"code": notice.code, "reason": notice.reason}
        self._say(f"a batch of 1,000,000 tea in store-2's name is refused: {notice.code}, {notice.reason}")

    def _back(self) -> None:
        self._act("13:10  The network is back")
        self._one.offline(False)
        until("store-1's queue to drain", lambda: self._one.status()["pending"] == 0, self._cast.children)
        self._say("store-1 sends what it did and takes what it missed, by itself")
        conflict = until("the price conflict", lambda: self._price_conflict(self._office), self._cast.children)
        self._outcome.conflict = conflict
        for place, it in enumerate(conflict["versions"]):
            stands = "is kept for a person to see" if place else "stands"
            moment = datetime.fromtimestamp(millis(it["hlc"]) / 1000, UTC)
            self._say(f"price conflict: {it['value']} by {it['replica']} at {moment:%H:%M:%S.%f} UTC {stands}")
        self._say("nobody waited for it: the later write stands until somebody decides otherwise (within 48 h)")

    def _evening(self) -> None:
        self._act("20:00  Everybody counts")
        until("all replicas to agree", self._all_agree, self._cast.children)

    def _all_agree(self) -> bool:
        cells: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
        for shop in (self._one, self._two, self._office):
            found = {document: shop.stock(*document) for document in DOCUMENTS}
            if any(f is None or f["pending"] for f in found.values()):
                return False
            cells[shop.name] = {d: _plain(self._require(f)["value"]) for d, f in found.items()}
        space = self._cast.contract.spaces["retail"]
        rows = read_model.rows(space, self._ids, self._cast.bootstrap)
        cells[READ_MODEL] = {d: _plain(rows.get(DocumentId("Stock", *d), {})) for d in DOCUMENTS}
        self._outcome.cells = cells
        return all(self._outcome.agree.values())

    def _price_conflict(self, shop: Shop) -> dict[str, Any] | None:
        return next((c for c in shop.conflicts() if c["field"] == "price"), None)

    def _sees(self, shop: Shop, store: str, sku: str, **wanted: object) -> None:
        def there() -> bool:
            found = shop.stock(store, sku)
            return found is not None and all(found["value"][name] == value for name, value in wanted.items())

        until(f"{shop.name} to see {store}/{sku} with {wanted}", there, self._cast.children)

    def _require(self, found: dict[str, Any] | None) -> dict[str, Any]:
        if found is None:
            raise DemoFailed("a document that was there is gone", f"see the logs in {self._cast.logs}")
        return found

    def _act(self, title: str) -> None:
        self._console.rule(f"[bold]{title}", align="left")

    def _say(self, text: str) -> None:
        self._console.print(f"  {text}")


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """What must be the same everywhere, in the same types."""
    if not row:
        return {"on_hand": None}
    return {
        "name": row["name"],
        "price": format(Decimal(str(row["price"])).normalize(), "f"),
        "on_hand": row["on_hand"],
        "tags": sorted(row["tags"]),
    }
