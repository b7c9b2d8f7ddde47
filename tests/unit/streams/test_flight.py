"""The order of effects holds however deliveries come in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from driftlog_schemas.messages import ChainRow
from driftlog_streams.core.flight import LIMIT, Effect, Flight, FlightDeck, PartitionFlight, Stage
from driftlog_streams.core.work import OutRecord, PartitionWork

REPLICA = "store-1.1"


def flight(number: int, *, urgent: bool = False, calls: bool = False) -> Flight:
    """With a row of the same replica each, which must leave before the states, or with them."""
    outcome = OutRecord("retail.conflicts", 0, b"outcome", str(number).encode())
    state = OutRecord("retail.state", 0, b"state", str(number).encode())
    work = PartitionWork(0)
    work.rows[REPLICA] = ChainRow("store-1", REPLICA, "retail", 0, number, b"", 1, ())
    if urgent:
        work.urgent.add(REPLICA)
    called = [OutRecord("retail.ops", 1, b"cloud", str(number).encode())] * calls
    return Flight([PartitionFlight(0, [outcome, *called], [state], [], [], [], work, {}, calls=called)])


@given(st.lists(st.integers(0, 7), max_size=200), st.lists(st.booleans(), min_size=200, max_size=200))
def test_a_row_never_passes_an_older_one_of_its_replica(choices: list[int], urgent: list[bool]) -> None:
    deck, launched, published = FlightDeck(), 0, []
    under_way: list[Effect] = []
    numbers: dict[int, int] = {}
    for choice in choices:
        if choice == 0 and not deck.full:
            made = flight(launched, urgent=urgent[launched])
            numbers[id(made)] = launched
            launched += 1
            deck.add(made)
        elif under_way:
            deck.finished(*under_way.pop(choice % len(under_way)))
        for effect in deck.effects():
            number = numbers[id(effect.flight)]
            if effect.stage is (Stage.FIRST if urgent[number] else Stage.SECOND):
                published.append(number)
            under_way.append(effect)
        assert len(deck) == 0 or under_way, "something goes on"
    assert published == sorted(published)


@given(st.lists(st.integers(0, 7), max_size=200))
def test_no_order_of_deliveries_breaks_the_order_of_effects(choices: list[int]) -> None:
    deck, launched = FlightDeck(), 0
    under_way: list[Effect] = []
    numbers: dict[int, int] = {}
    done: set[tuple[int, Stage]] = set()
    begun: list[tuple[int, Stage]] = []
    for choice in choices:
        if choice == 0 and not deck.full:
            made = flight(launched)
            numbers[id(made)] = launched
            launched += 1
            deck.add(made)
        elif under_way:
            effect = under_way.pop(choice % len(under_way))
            deck.finished(*effect)
            done.add((numbers[id(effect.flight)], effect.stage))
        for effect in deck.effects():
            number = numbers[id(effect.flight)]
            for earlier in range(effect.stage):
                assert (number, Stage(earlier)) in done, "a stage began before its predecessor was done"
            for before in range(number):
                if effect.stage <= Stage.SECOND:
                    assert (before, effect.stage) in begun, "published out of the flights' order"
                else:
                    assert (before, effect.stage) in done, "stored or acknowledged out of the flights' order"
            begun.append((number, effect.stage))
            under_way.append(effect)
        assert len(deck) <= LIMIT


def test_calls_leave_when_earlier_ones_are_delivered() -> None:
    """Whatever is lost on the way is then lost with all that follows it. What calls for nothing waits behind them only for its turn."""
    deck = FlightDeck()
    first, second, third = flight(0, calls=True), flight(1, calls=True), flight(2)
    for made in (first, second, third):
        deck.add(made)
    assert deck.effects() == [Effect(first, Stage.FIRST)]
    deck.finished(first, Stage.FIRST)
    assert deck.effects() == [Effect(first, Stage.SECOND), Effect(second, Stage.FIRST), Effect(third, Stage.FIRST)]
    deck.finished(third, Stage.FIRST)
    assert deck.effects() == []
    deck.finished(second, Stage.FIRST)
    assert deck.effects() == [Effect(second, Stage.SECOND), Effect(third, Stage.SECOND)]


def test_of_the_calls_of_a_flight_each_waits_for_the_one_before_to_the_same_partition() -> None:
    def call(place: int, value: bytes) -> OutRecord:
        return OutRecord("retail.ops", place, b"cloud", value)

    here, there = [call(1, b"a"), call(2, b"b"), call(1, b"c"), call(1, b"d")], [call(1, b"e"), call(1, b"f")]
    outcome, state = OutRecord("retail.conflicts", 0, b"x", b"1"), OutRecord("retail.state", 0, b"y", b"2")
    made = Flight(
        [
            PartitionFlight(0, [outcome, *here], [state], [], [], [], PartitionWork(0), {}, calls=here),
            PartitionFlight(1, [*there], [], [], [], [], PartitionWork(1), {}, calls=there),
        ]
    )
    rounds = [[record.value for record in part] for part in made.rounds(Stage.FIRST)]
    assert rounds == [[b"1", b"a", b"b", b"e"], [b"c", b"f"], [b"d"]]
    assert made.rounds(Stage.SECOND) == [[state]]


def test_a_full_deck_takes_no_flight() -> None:
    deck = FlightDeck(limit=2)
    deck.add(flight(0))
    deck.add(flight(1))
    assert deck.full


def test_every_effect_is_given_once() -> None:
    deck = FlightDeck()
    deck.add(flight(0))
    (effect,) = deck.effects()
    assert effect.stage is Stage.FIRST
    assert deck.effects() == []
    deck.finished(*effect)
    assert [e.stage for e in deck.effects()] == [Stage.SECOND]
