"""Laws about commands and processes: nothing is lost, nothing counts twice, everybody is told.

Each law is one function that yields sentences.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from driftlog_crdt import Op
from driftlog_schemas.identity import DocumentId
from tests.simulation.all_types import BODIES
from tests.simulation.app import EDGES, SPACE, device_of_node
from tests.simulation.case import Case, said
from tests.simulation.meaning import BUILDS_ON_REFUSED
from tests.simulation.reference import GONE, NO_RIGHTS, REPEATED, Decision

REFUSED_AGAIN = frozenset(("rejected", code) for code in ("locked_here", "nothing_there", "out_of_stock", "invalid"))
"""How a command may end on its edge that runs again after what it was built on was refused: the app says no."""
DROPPED = ("rejected", "dropped")
"""How a command ends that a person has dropped."""


def no_process_ends_unplanned(case: Case) -> Iterator[str]:
    """Only planned faults end a process."""
    yield from case.history.crashes


def everything_comes_to_rest(case: Case) -> Iterator[str]:
    """Queues drain within bounded time once the network heals."""
    history = case.history
    if not history.quiet:
        yield f"not at rest in time: {history.unrest}"
    for edge, end in history.ends.items():
        if end.pending or end.outbox:
            yield f"{edge} ends with {end.pending} pending and {end.outbox} to ship"
    if history.parked_left:
        yield f"{history.parked_left} commands are parked for ever"


def nothing_acknowledged_is_lost(case: Case) -> Iterator[str]:
    """What an edge answered is in the log, was decided, and survived every restart of its edge."""
    for answer in case.history.answers:
        decision = case.decisions.get(answer.command_id)
        if decision is None and case.history.forgotten(answer):
            continue  # it went with its disk before it could be sent
        end = case.history.ends[answer.edge]
        if decision is None and end.status.get(answer.command_id) in REFUSED_AGAIN:
            continue  # what it was built on was refused; it ran again, was refused by the app, and its edge says so
        if decision is None and answer.command_id in case.history.dropping and end.status[answer.command_id] == DROPPED:
            continue
        if decision is None:
            yield f"{answer.command_id} was answered by {answer.edge} and is not in the log"
        elif decision.verdict == "parked":
            yield f"{answer.command_id} is in the log at {decision.offset} and was never decided"
    for known in case.history.known:
        for answer in case.history.answers:
            if answer.edge != known.edge or answer.at_ms >= known.at_ms or case.history.forgotten(answer):
                continue
            if answer.command_id not in known.commands:
                yield f"{known.edge} forgot {answer.command_id}, answered at {answer.at_ms}, at its restart at {known.at_ms}"


def a_command_takes_effect_once(case: Case) -> Iterator[str]:
    """The counters are what the users' accepted intents add up to, by their arguments, each once."""
    history = case.history
    expected: dict[DocumentId, int] = defaultdict(int)
    for command_id, decision in case.decisions.items():
        if decision.verdict != "accepted":
            continue
        intent = history.intents.get(command_id)
        if intent is None:
            yield f"{command_id} takes effect and nobody meant it"
            continue
        a = intent.arguments
        match intent.name:
            case "receive":
                expected[DocumentId("Stock", a["store"], a["sku"])] += a["qty"]
            case "sell":
                expected[DocumentId("Stock", a["store"], a["sku"])] -= a["qty"]
                expected[DocumentId("Ledger", a["store"], "today")] += a["qty"]
            case "transfer":
                expected[DocumentId("Stock", a["store"], a["source"])] -= a["qty"]
                expected[DocumentId("Stock", a["store"], a["target"])] += a["qty"]
    for document, total in expected.items():
        name = "on_hand" if document.collection == "Stock" else "sold"
        for edge, end in history.ends.items():
            if document.scope not in EDGES[device_of_node(edge)]:
                continue
            kind, merged = SPACE.collections[document.collection].document, end.confirmed.get(document)
            shown = kind.field_value(case.state(document, merged) if merged else kind.new(), name)
            if shown != total:
                yield f"{edge} shows {name} {shown} of {'/'.join(document)}, the accepted commands give {total}"
    answered = {answer.command_id for answer in history.answers}
    for _, edge, command_id, code in history.refusals:
        if command_id in case.decisions and command_id not in answered:
            yield f"{command_id} was refused by {edge} ({code}) and is in the log"


def a_command_is_atomic(case: Case) -> Iterator[str]:
    """No edge ever shows a cut in which a command of two documents is half visible, nor goes back in time."""
    wide: dict[DocumentId, list[tuple[str, tuple[tuple[DocumentId, Op], ...]]]] = defaultdict(list)
    for command_id, decision in case.decisions.items():
        ops = decision.command.ops
        documents = {d for d, _ in ops}
        if len(documents) > 1:
            for document in documents:
                wide[document].append((command_id, ops))
    shown: dict[str, dict[DocumentId, Mapping[str, int]]] = defaultdict(dict)
    for cut in case.history.cuts:
        if cut.restart:
            shown[cut.edge] = {}
        view = shown[cut.edge]
        for document in cut.left:
            view.pop(document, None)
        for document, vector in cut.vectors.items():
            before = view.get(document, {})
            if any(vector.get(r, 0) < s for r, s in before.items()):
                yield f"{cut.edge} at {cut.at_ms}: {'/'.join(document)} went back from {dict(before)} to {dict(vector)}"
            view[document] = vector
        if cut.catching_up:
            continue
        told = set()
        for document in cut.vectors:
            for command_id, ops in wide[document]:
                seen = {view.get(d, {}).get(op.replica, 0) >= op.seq for d, op in ops}
                if len(seen) > 1 and command_id not in told:
                    told.add(command_id)
                    yield f"{cut.edge} at {cut.at_ms} shows half of {command_id}: {[(d.id, op.seq) for d, op in ops]}"


ON_REFUSED = {("rejected", BUILDS_ON_REFUSED)}


def _beside_an_earlier_life(decision: Decision) -> bool:
    """An edit that a new life took along may stand beside one of the old life's that was refused. The reference does not read what an edit
    stands beside; it knows that this one is refused, for the same or for another reason."""
    edits = any(op.field in BODIES for _, op in decision.command.ops)
    return decision.verdict == "rejected" and bool(decision.command.root) and edits


def outcomes_reach_their_device(case: Case) -> Iterator[str]:
    """Every decided command has that verdict in a row of its replica and on its edge, the rejected ones with their code."""
    told: dict[str, set[tuple[int, str, str]]] = defaultdict(set)
    for row in case.history.rows:
        chain = case.reference.chains.get((row.replica, (row.space, row.partition)))
        commands = {} if chain is None else chain.commands
        for entry in row.entries:
            named = {outcome.command_id: outcome for outcome in entry.outcomes}
            if entry.number not in commands:
                yield f"a row of {row.replica} answers batch {entry.number}, which its chain does not have"
            for command_id, speaker in commands.get(entry.number, {}).items():
                told[command_id].add((entry.offset, *said(named.get(speaker))))
    for command_id, decision in case.decisions.items():
        if decision.verdict == "parked":
            continue
        words = {word[1:] for word in told[command_id] if word[0] == decision.offset and word[1] != "parked"}
        if words != {(decision.verdict, decision.code)} and not (
            words == ON_REFUSED and _beside_an_earlier_life(decision)
        ):
            yield f"{command_id} was {decision.verdict} {decision.code}, its rows say {sorted(words)}"
        yield from _told(case, command_id, decision)


def _told(case: Case, command_id: str, decision: Decision) -> Iterator[str]:
    """What the agents of its device say of a command: who was asked, and those in copies of its folder who know it."""
    device = decision.replica.rpartition(".")[0]
    nodes = [name for name in case.history.ends if device_of_node(name) == device]
    copied = len(nodes) > 1 or any(device_of_node(r.edge) == device for r in case.history.restored)
    expected = ("merged", "") if decision.verdict == "accepted" else (decision.verdict, decision.code)
    if decision.code in (NO_RIGHTS, GONE):
        expected = "review", decision.code
    for node in nodes:
        status = case.history.ends[node].status.get(command_id)
        if status is None and node != command_id.partition(":")[0]:
            continue
        if copied and status in (None, ("merged", "")):
            continue  # made or decided while another copy of its disk spoke; the verdict may be kept no longer
        if (copied or decision.code == BUILDS_ON_REFUSED) and status in REFUSED_AGAIN:
            continue  # it ran again here, and was sent by another copy maybe
        if copied and NO_RIGHTS in case.refused_for_now(command_id) and status == ("review", NO_RIGHTS):
            continue  # it was brought by two lives, and no word on it was final: each copy has that of its own
        if status == DROPPED and command_id in case.history.dropping and (copied or expected[0] == "review"):
            continue  # a person gave it up here, and another copy had sent it, or it waited after it was refused
        if status not in (expected, (expected[0], REPEATED)):
            yield f"{command_id} of {decision.replica} stands at {status} on {node}, the log says {expected}"
