"""The judge: a pure function from the history of a run to the laws that it broke.

Nothing here looks at a running system; everything is decided from what was recorded, against the reference fold of the op topic.
Each law is one function that yields sentences; an empty judgement means that the run was lawful.

Source: Jepsen's checkers (record everything, judge afterwards).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from driftlog_crdt import AlgebraError, DocumentState, Op
from driftlog_schemas.identity import DocumentId, parse_document_key
from driftlog_schemas.messages import CommandOutcome, ConflictStatus, Verdict, Version
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.state_codec import META, StateCodec
from tests.reference_model import sequence
from tests.simulation.all_types import BODIES, words_of
from tests.simulation.app import EDGES, SPACE, device_of_node
from tests.simulation.history import History
from tests.simulation.meaning import BUILDS_ON_REFUSED
from tests.simulation.reference import REPEATED, Decision, Reference


@dataclass(frozen=True, slots=True)
class Violation:
    """A law and how it was broken."""

    law: str
    fact: str

    def __str__(self) -> str:
        return f"{self.law}: {self.fact}"


MAX_TOLD = 5
"""Of each law, so that a broken run stays readable."""


REFUSED_AGAIN = frozenset(("rejected", code) for code in ("locked_here", "nothing_there", "out_of_stock", "invalid"))
"""How a command may end on its edge that runs again after what it was built on was refused: the app says no."""


class Meaningless(Exception):
    """The log cannot be folded."""


class Case:
    """A history with its meaning, worked out once for all laws."""

    def __init__(self, history: History) -> None:
        self.history = history
        ids = FixedIds()
        self.reference = Reference(history.devices, history.intents, ids)
        try:
            for partition in sorted(history.ops):
                self.reference.fold(history.ops[partition])
            self.reference.settle()
        except (AssertionError, AlgebraError) as error:  # dots that were given out twice, for instance
            raise Meaningless(str(error)) from error
        self._codecs = {name: StateCodec(c, ids) for name, c in SPACE.collections.items()}
        for codec in self._codecs.values():
            ids.id_of(codec.schema)
        self.decisions = {d.command.id: d for d in self.reference.decisions.values() if d.code != REPEATED}
        """command id -> what became of it; whoever brought it again was told the same"""

    def row(self, document: DocumentId, value: bytes) -> dict[str, Any]:
        """A state record as any Kafka tool reads it."""
        return self._codecs[document.collection].decode_row(value)

    def merged(self, document: DocumentId, value: bytes) -> bytes:
        """The merge encoding in a state record."""
        merge: bytes = self.row(document, value)[META]["merge"]
        return merge

    def state(self, document: DocumentId, merged: bytes) -> DocumentState:
        """What a merge encoding says."""
        return SPACE.collections[document.collection].document.decode(merged)


def judge(history: History) -> list[Violation]:
    """All broken laws, each told at most `MAX_TOLD` times."""
    try:
        return broken(Case(history))
    except Meaningless as error:
        return [Violation("the log has one meaning", str(error))]


def broken(case: Case) -> list[Violation]:
    """The same, of a history whose meaning is worked out."""
    found = []
    for law, check in LAWS.items():
        try:
            facts = list(check(case))
        except AlgebraError as error:
            facts = [f"what was merged is no state or no op at all: {error}"]
        found += [Violation(law, fact) for fact in facts[:MAX_TOLD]]
        if len(facts) > MAX_TOLD:
            found.append(Violation(law, f"... and {len(facts) - MAX_TOLD} more"))
    return found


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


def all_agree_with_the_log(case: Case) -> Iterator[str]:
    """Every edge's confirmed documents and the read model are the fold of the op topic, byte for byte."""
    reference = case.reference
    expected = {d: meaning.encoded() for d, meaning in reference.documents.items() if meaning.seen}
    latest = {}
    for records in case.history.states.values():
        for record in records:
            latest[parse_document_key(record.key or b"")] = record
    for document, merged in expected.items():
        record = latest.get(document)
        if record is None or record.value is None:
            yield f"the read model lacks {'/'.join(document)}"
        elif (found := case.merged(document, record.value)) != merged:
            yield f"the read model of {'/'.join(document)} is {found!r}, the log says {merged!r}"
    for edge, end in case.history.ends.items():
        for document, merged in expected.items():
            if document.scope in EDGES[device_of_node(edge)] and end.confirmed.get(document) != merged:
                yield f"{edge} has {end.confirmed.get(document)!r} for {'/'.join(document)}, the log says {merged!r}"
    for document in latest.keys() - expected.keys():
        yield f"the read model has {'/'.join(document)}, which no op made"


def a_state_is_what_its_vector_says(case: Case) -> Iterator[str]:
    """Every state ever published holds exactly the ops that its version vector covers: no gap, nothing twice."""
    for records in case.history.states.values():
        for record in records:
            document = parse_document_key(record.key or b"")
            merged = case.merged(document, record.value or b"")
            expected = case.reference.documents[document].encoded(case.state(document, merged).vector)
            if merged != expected:
                yield f"state {'/'.join(document)}@{record.offset} is {merged!r}, its vector means {expected!r}"


def a_document_shows_what_its_ops_mean(case: Case) -> Iterator[str]:
    """Values and presence are what the reference model makes of the accepted ops, in the read model and its plain rows."""
    for document, meaning in case.reference.documents.items():
        if not meaning.seen:
            continue
        kind, name = meaning.kind, "/".join(document)
        state = case.state(document, meaning.encoded())
        for fact in meaning.disagreements(kind.values(state)):
            yield f"{name}{fact}"
        if (kind.exists(state), kind.deleted(state)) != (meaning.exists, meaning.deleted):
            yield f"{name} is there: {kind.exists(state)}, deleted: {kind.deleted(state)}; its ops mean {meaning.exists}"


def texts_and_lists_have_one_order(case: Case) -> Iterator[str]:
    """No two words of a body ever stand in different orders in two of its states, and none is torn."""
    shown: dict[tuple[DocumentId, str], set[tuple[str, ...]]] = defaultdict(set)
    for records in case.history.states.values():
        for record in records:
            document = parse_document_key(record.key or b"")
            kind = SPACE.collections[document.collection].document
            for name in kind.fields.keys() & set(BODIES):
                value: Any = kind.field_value(case.state(document, case.merged(document, record.value or b"")), name)
                shown[document, name].add(tuple(words_of(value)))
    for (document, name), views in shown.items():
        known = {word for edit in case.reference.documents[document].edits.values() for word in edit}
        if torn := {word for view in views for word in view} - known:
            yield f"{'/'.join(document)}.{name} shows {sorted(torn)}, which nobody wrote"
        if not sequence.agree(views):
            yield f"{'/'.join(document)}.{name} was seen in different orders: {sorted(views)}"


def rights_are_never_overdrawn(case: Case) -> Iterator[str]:
    """No state ever published of a bounded counter is beyond its bound."""
    for records in case.history.states.values():
        for record in records:
            document = parse_document_key(record.key or b"")
            if (
                document.collection == "Job"
                and (left := case.row(document, record.value or b"")["bounded_counter"]) < 0
            ):
                yield f"{'/'.join(document)}@{record.offset} stands at {left}"


def a_command_is_atomic(case: Case) -> Iterator[str]:
    """No edge ever shows a cut in which a command of two documents is half visible, nor goes back in time."""
    wide: dict[DocumentId, list[tuple[str, tuple[tuple[DocumentId, Op], ...]]]] = defaultdict(list)
    for decision in case.decisions.values():
        ops = decision.command.ops
        documents = {d for d, _ in ops}
        if len(documents) > 1:
            for document in documents:
                wide[document].append((decision.command.id, ops))
    shown: dict[str, dict[DocumentId, Mapping[str, int]]] = defaultdict(dict)
    for cut in case.history.cuts:
        if cut.restart:
            shown[cut.edge] = {}
        view = shown[cut.edge]
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


def outcomes_reach_their_device(case: Case) -> Iterator[str]:
    """Every decided command has that verdict in a row of its replica and on its edge, the rejected ones with their code."""
    told: dict[str, set[tuple[int, str, str]]] = defaultdict(set)
    for row in case.history.rows:
        commands = case.reference.chains[row.replica, row.partition].commands
        for entry in row.entries:
            named = {outcome.command_id: outcome for outcome in entry.outcomes}
            if entry.number not in commands:
                yield f"a row of {row.replica} answers batch {entry.number}, which its chain does not have"
            for command_id in commands.get(entry.number, ()):
                told[command_id].add((entry.offset, *_said(named.get(command_id))))
    for command_id, decision in case.decisions.items():
        if decision.verdict == "parked":
            continue
        words = {word[1:] for word in told[command_id] if word[0] == decision.offset and word[1] != "parked"}
        if words != {(decision.verdict, decision.code)}:
            yield f"{command_id} was {decision.verdict} {decision.code}, its rows say {sorted(words)}"
        yield from _told(case, decision)


def _told(case: Case, decision: Decision) -> Iterator[str]:
    """What the agents of its device say of a command: who was asked, and those in copies of its folder who know it."""
    command_id, device = decision.command.id, decision.replica.rpartition(".")[0]
    nodes = [name for name in case.history.ends if device_of_node(name) == device]
    copied = len(nodes) > 1 or any(device_of_node(r.edge) == device for r in case.history.restored)
    expected = ("merged", "") if decision.verdict == "accepted" else (decision.verdict, decision.code)
    for node in nodes:
        status = case.history.ends[node].status.get(command_id)
        if status is None and node != command_id.partition(":")[0]:
            continue
        if copied and status in (None, ("merged", "")):
            continue  # made or decided while another copy of its disk spoke; the verdict may be kept no longer
        if (copied or decision.code == BUILDS_ON_REFUSED) and status in REFUSED_AGAIN:
            continue  # it ran again here, and was sent by another copy maybe
        if status not in (expected, (expected[0], REPEATED)):
            yield f"{command_id} of {decision.replica} stands at {status} on {node}, the log says {expected}"


def _said(outcome: CommandOutcome | None) -> tuple[str, str]:
    """Verdict and code as the reference names them."""
    if outcome is None:
        return "accepted", ""
    return outcome.verdict.value, "" if outcome.verdict is Verdict.PARKED else outcome.code


def chain_rows_say_what_the_log_says(case: Case) -> Iterator[str]:
    """The last row of every replica stands where its chain does, with the batches and the verdicts that are in the log."""
    last = {(row.replica, row.partition): row for row in case.history.rows}
    for place, chain in case.reference.chains.items():
        row = last.get(place)
        newest = max(chain.digests, default=0)
        if row is None or (row.last, row.head) != (newest, chain.digests.get(newest, b"")):
            yield f"{place} is at {newest}, its row says {row and row.last}"
            continue
        for entry in row.entries:
            if entry.digest != chain.digests[entry.number][: len(entry.digest)]:
                yield f"{place} has another batch {entry.number} than its row"
            named = {outcome.command_id: outcome for outcome in entry.outcomes}
            for command_id in chain.commands[entry.number]:
                decision, found = case.decisions.get(command_id), _said(named.get(command_id))
                if decision is None or entry.number in chain.put_off:
                    continue
                if decision.offset == entry.offset and found != (decision.verdict, decision.code):
                    yield f"{command_id} of {place} is {decision.verdict} {decision.code}, its row says {found}"


def conflicts_are_true(case: Case) -> Iterator[str]:
    """A place has a conflict exactly if differing writes met there; none missed, none false, and its last record is how it ended."""
    last = {conflict.id: conflict for conflict in case.history.conflicts}
    expected = case.reference.conflicts
    for identifier, wanted in expected.items():
        found = last.get(identifier)
        name = f"the conflict at {'/'.join(wanted.document)}.{wanted.field}"
        if found is None:
            yield f"{name} was missed"
        elif found.status is ConflictStatus.RESOLVED:
            if wanted.standing:
                yield f"{name} ends resolved, but {sorted(wanted.standing)} stand"
        elif {_dot(v) for v in found.versions} != wanted.standing:
            yield f"{name} ends between {list(map(_dot, found.versions))}, not {sorted(wanted.standing)}"
    for conflict in case.history.conflicts:
        pairs = expected[conflict.id].pairs if conflict.id in expected else set()
        known = case.reference.documents.get(conflict.document)
        origins = {} if known is None else known.origins
        for one, other in combinations(conflict.versions, 2):
            if one.value != other.value and frozenset({_dot(one), _dot(other)}) not in pairs:
                yield f"false conflict {'/'.join(conflict.document)}.{conflict.field}: {one} beside {other}"
        for version in (*conflict.versions, *([conflict.decided_by] if conflict.decided_by else [])):
            if (version.command_id, version.actor, version.append_ms, version.seen) != origins.get(_dot(version)):
                yield f"{'/'.join(conflict.document)}: {version} is not by whom it says"


def _dot(version: Version) -> tuple[str, int]:
    return version.replica, version.seq


def the_store_is_never_ahead(case: Case) -> Iterator[str]:
    """What a worker's store takes is already in the state topic."""
    published: dict[tuple[int, bytes, bytes], int] = {}
    for partition, records in case.history.states.items():
        for record in records:
            published.setdefault((partition, record.key or b"", record.value or b""), record.offset)
    for write in case.history.store_writes:
        offset = published.get((write.partition, write.key, write.value))
        if offset is None or offset >= write.published:
            yield f"{write.worker} stored {write.key!r} at {write.at_ms}, before the topic had it"


LAWS: dict[str, Callable[[Case], Iterator[str]]] = {
    check.__name__.replace("_", " "): check
    for check in (
        no_process_ends_unplanned,
        everything_comes_to_rest,
        nothing_acknowledged_is_lost,
        a_command_takes_effect_once,
        all_agree_with_the_log,
        a_state_is_what_its_vector_says,
        a_document_shows_what_its_ops_mean,
        texts_and_lists_have_one_order,
        rights_are_never_overdrawn,
        a_command_is_atomic,
        outcomes_reach_their_device,
        chain_rows_say_what_the_log_says,
        conflicts_are_true,
        the_store_is_never_ahead,
    )
}
