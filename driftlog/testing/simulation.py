"""Replicas of an app and a cloud, from a seed: commands, delays, links that are cut, batches that come twice; then everything heals.

Devices work on their own view, as agents do; the cloud is the merge workers' core (`cloud`). All that is drawn is drawn from the seed, so the same
seed gives the same events, and a failure that names its seed can be looked at again. In the end all replicas must have the same documents as the
cloud, each command must have its verdict, and what the app says is always so must have been so of every document that was ever merged.

Where replicas can differ at all is in the app's own code: a `merge` that is not a pure function answers each of them otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from driftlog.testing.cloud import Appended, Cloud, Partition, Place
from driftlog.testing.device import RUN_AGAIN, Answer, Device, Sent
from driftlog.testing.drawing import Draw, chosen
from driftlog.testing.memory import Asked, Ran
from driftlog.testing.story import Event, Problem, Rejected, Result, called, listed
from driftlog_crdt import AlgebraError, DocumentState
from driftlog_schemas.batch_codec import decode_body
from driftlog_schemas.contract import AppContract, Declared, InvalidInput, Json, OneWay, Refused, Undeclared
from driftlog_schemas.devices import EVERYTHING, PUBLISH, DeviceKey, enrolled
from driftlog_schemas.identity import DocumentId, device_id
from driftlog_schemas.messages import Quarantined, Verdict
from driftlog_streams.core.call_running import REFUSED
from driftlog_streams.core.rights import ALL, DIRECT

CLOUD = "cloud"
EPOCH_MS = 1_800_000_000_000
SKEW_MS = 120_000
"""How far a device's clock may be off."""
STEP_MS = 60_000
GROUPS = 4
"""So many are fetched at once, on average."""
PROBLEMS = 10
"""So many are told."""
ROUNDS = 1000
"""In so many rounds everything comes to rest, once all links are up."""
Invariant = Callable[[Any], object]


def simulate(
    app: Declared | AppContract,
    seed: int = 0,
    replicas: int | Mapping[str, Sequence[str]] = 3,
    steps: int = 200,
    commands: Draw | Sequence[Draw] | None = None,
    invariant: Invariant | Sequence[Invariant] = (),
) -> Result:
    """Live through one world of the app; `Result.check()` raises unless it ended well.

    `replicas`   how many; or the name of each with the commands that it may send, as in `driftlog devices enrol` (`*` for all)
    `commands`   draws (name, arguments) from a `random.Random`, or several that do; else each declared command is drawn, its arguments from
                 its own schema
    `invariant`  asked of every merged document, typed as guards get it: it raises AssertionError or answers False where it does not hold

    What a command or a guard raises besides a refusal is a defect: a command's comes out of here, with the seed noted; a guard's is a rejection,
    as in the cloud.
    """
    contract = app if isinstance(app, AppContract) else app.contract
    invariants = [invariant] if callable(invariant) else list(invariant)
    allowed = {f"replica-{n}": EVERYTHING for n in range(1, replicas + 1)} if isinstance(replicas, int) else replicas
    if not allowed:
        raise ValueError("replicas: there is none; give at least one")
    _require_known(contract, allowed)
    world = _World(contract, seed, allowed, chosen(commands, contract), invariants)
    try:
        for _ in range(steps):
            world.step()
        world.heal()
    except Exception as error:
        error.add_note(f"simulate(seed={seed}), step {world.steps}")
        raise
    world.judge()
    return world.result


def _require_known(contract: AppContract, allowed: Mapping[str, Sequence[str]]) -> None:
    """A slip in a name would have all that this replica sends rejected, and a world in which nothing is merged ends well."""
    known = {ALL, DIRECT, PUBLISH} | {name for space in contract.spaces.values() for name in space.commands}
    for name, permissions in allowed.items():
        if isinstance(permissions, str):
            raise ValueError(f"replicas: {name!r} is given a text; give a list of what it may send")
        if unknown := sorted({*permissions} - known):
            raise ValueError(
                f"replicas: {name!r} may send {', '.join(unknown)}, which {contract.name!r} does not declare; there are {', '.join(sorted(known))}"
            )


class _World:
    """One run."""

    def __init__(
        self,
        contract: AppContract,
        seed: int,
        allowed: Mapping[str, Sequence[str]],
        draw: Draw,
        invariants: Sequence[Invariant],
    ) -> None:
        self.steps = 0
        self.result = Result(seed)
        self._contract = contract
        self._draw = draw
        self._invariants = invariants
        self._random = Random(seed)
        self._now_ms = EPOCH_MS
        lines: dict[str, Any] = {}
        self._cloud = Cloud(contract, lines)
        self._devices = [
            Device(
                device_id(name),
                contract,
                self._cloud,
                self._random.randint(-SKEW_MS, SKEW_MS),
                publishes=PUBLISH in permissions,
            )
            for name, permissions in allowed.items()
        ]
        for device in self._devices:
            key = DeviceKey(device.identity.key_id, device.identity.public_key, 1)
            lines[device.name] = enrolled(device.name, key, EVERYTHING, tuple(allowed[device.name]))
        self._arrived: list[Sent] = []

    # -- what may happen

    def step(self) -> None:
        """One thing happens."""
        self.steps += 1
        self._now_ms += self._random.randint(1, STEP_MS)
        device = self._random.choice(self._devices)
        ((act, _),) = self._random.choices(_ACTS, [weight for _, weight in _ACTS])
        act(self, device)

    def _command(self, device: Device) -> None:
        if device.again:
            self._run(device, device.again.pop(0), "again ")
            return
        name, arguments = self._draw(self._random)
        self._run(device, Asked(name, arguments, device.next_id()))

    def _run(self, device: Device, asked: Asked, again: str = "") -> None:
        try:
            ran = device.run(asked, self._now_ms)
        except Undeclared:
            raise  # whoever draws commands draws one that there is not
        except Refused as refused:
            self._refused(device, asked, refused.code, refused.reason)
        except (InvalidInput, AlgebraError) as error:
            self._refused(device, asked, "one_way" if isinstance(error, OneWay) else "invalid", str(error))
        else:
            self._tell(device.name, f"{again}{called(asked.name, asked.arguments)} -> {ran.result!r}", *_changed(ran))

    def _refused(self, device: Device, asked: Asked, code: str, reason: str) -> None:
        self._tell(device.name, f"{called(asked.name, asked.arguments)} is refused: {code} {reason}".rstrip())
        self.result.rejected.append(
            Rejected(device.name, device.name, asked.name, asked.command_id, asked.arguments, code, reason)
        )

    def _ship(self, device: Device) -> None:
        if device.linked and (sent := device.ship(self._random)):
            self._tell(device.name, f"sends batch {sent.number} with {sent.commands} commands")

    def _arrive(self, device: Device) -> None:
        if device.wire:
            sent = device.wire.popleft()
            self._append(sent)
            self._arrived.append(sent)

    def _twice(self, device: Device) -> None:
        if self._arrived:
            self._append(self._random.choice(self._arrived))

    def _append(self, sent: Sent) -> None:
        self._cloud.at(sent.place).log.append(Appended(sent.value, self._now_ms))

    def _merge(self, device: Device) -> None:
        waiting = [place for place, partition in self._cloud.partitions.items() if partition.waits]
        if waiting:
            place = self._random.choice(waiting)
            self._work_off(place, self._random.randint(1, 4))
            self._react(place)

    def _react(self, place: Place) -> bool:
        """The workers write what reactions have called for there; did they?"""
        written = self._cloud.at(place).react(self._now_ms)
        if written:
            self._tell(CLOUD, f"writes {written} commands that reactions have called for")
        return bool(written)

    def _work_off(self, place: Place, records: int) -> None:
        partition = self._cloud.at(place)
        while partition.waits and records:
            partition.merge()
            records -= 1
        group = self._cloud.publish(place, self._now_ms)
        self._tell(CLOUD, f"has merged {listed(group.documents)}", *group.documents)
        for document, row in group.documents.items():
            self._ask_invariants(document, self._cloud.state(document, row))

    def _ask_invariants(self, document: DocumentId, state: DocumentState) -> None:
        collection = self._contract.collection(document.collection)
        if not self._invariants or not collection.document.exists(state):
            return
        view = collection.view(document.scope, document.id, state)
        for invariant in self._invariants:
            try:
                broken = "" if invariant(view) is not False else "does not hold"
            except AssertionError as error:
                broken = str(error) or "does not hold"
            if broken:
                name = getattr(invariant, "__name__", "invariant")
                self._problem(f"step {self.steps}: {name} of {view!r}: {broken}", document)

    def _fetch(self, device: Device) -> None:
        for _ in range(self._random.randint(1, 2 * GROUPS) if device.linked else 0):
            if behind := device.behind():
                self._take(device, self._random.choice(behind))

    def _take(self, device: Device, place: Place) -> None:
        for answer in device.take(place):
            self._answered(device, answer)

    def _answered(self, device: Device, answer: Answer) -> None:
        (pending, outcome), asked = answer, answer.pending.asked
        if outcome.verdict is not Verdict.REJECTED:
            return
        documents = [document for document, _ in pending.command.ops]
        told = f"is told that {called(asked.name, asked.arguments)} is rejected: {outcome.code} {outcome.reason}"
        self._tell(device.name, told.rstrip(), *documents)
        if outcome.code != RUN_AGAIN:
            self.result.rejected.append(
                Rejected(
                    device.name, CLOUD, asked.name, asked.command_id, asked.arguments, outcome.code, outcome.reason
                )
            )

    def _cut(self, device: Device) -> None:
        if device.linked and self._random.random() < 0.5:
            return  # most are there at most times
        device.linked = not device.linked
        self._tell(device.name, "is back" if device.linked else "is cut off")

    # -- the end

    def heal(self) -> None:
        """All links are up, and everything arrives."""
        self._tell(CLOUD, "everything heals")
        for device in self._devices:
            device.linked = True
        for _ in range(ROUNDS):
            self.steps += 1
            self._now_ms += STEP_MS
            moved = [self._onward(device) for device in self._devices]
            if not self._all_merged() and not any(moved):
                return

    def _onward(self, device: Device) -> bool:
        """Let all of a device's go on; did anything?"""
        moved = False
        while behind := device.behind():  # first: what it runs again must not be built on what is refused as well
            moved = True
            self._take(device, behind[0])
        while device.again:
            self._command(device)
        while device.ship(self._random):
            moved = True
        while device.wire:
            moved = True
            self._arrive(device)
        return moved

    def _all_merged(self) -> bool:
        waiting = [(place, one) for place, one in self._cloud.partitions.items() if one.waits]
        for place, partition in waiting:
            self._work_off(place, len(partition.log))
        written = [self._react(place) for place in list(self._cloud.partitions)]
        return bool(waiting) or any(written)

    def judge(self) -> None:
        """What there is in the end, and what of it should not be."""
        result, partitions = self.result, list(self._cloud.partitions.values())
        documents = {CLOUD: self._shown(_merged(self._cloud, partitions))}
        documents |= {device.name: self._shown(device.confirmed) for device in self._devices}
        result.documents = documents
        result.conflicts = [one for partition in partitions for one in partition.conflicts.values()]
        for device in self._devices:
            self._compare(device.name, documents[device.name], documents[CLOUD])
            for one in device.pending:
                if one.fate == "unknown":
                    changed = [document for document, _ in one.command.ops]
                    self._problem(
                        f"{device.name}: {called(one.asked.name, one.asked.arguments)} was never decided", *changed
                    )
        for partition in partitions:
            for kept in partition.quarantined:
                self._set_aside(kept)

    def _set_aside(self, kept: Quarantined) -> None:
        """What a person would see in `driftlog parked list`. That a command was refused which a reaction called for may be as the app means it."""
        if kept.code != REFUSED:
            self._problem(f"a batch of {kept.replica} could not be merged: {kept.code} {kept.reason}")
            return
        body = decode_body(self._cloud.opened(kept.record))
        assert body.react is not None, "the workers' own word"
        call = body.react.calls[0]
        self.result.rejected.append(
            Rejected(
                f"reaction:{call.reaction}",
                CLOUD,
                call.command,
                call.id,
                json.loads(call.arguments),
                kept.code,
                kept.reason,
            )
        )

    def _shown(self, states: Mapping[DocumentId, DocumentState]) -> dict[DocumentId, dict[str, Json]]:
        shown = {}
        for document, state in sorted(states.items()):
            collection = self._contract.collection(document.collection)
            if collection.document.exists(state):
                shown[document] = collection.present(document.scope, document.id, state)
        return shown

    def _compare(self, name: str, here: Mapping[DocumentId, Any], there: Mapping[DocumentId, Any]) -> None:
        for document in sorted({*here, *there}):
            if here.get(document) != there.get(document):
                fact = (
                    f"{'/'.join(document)} is {here.get(document)} for {name} and {there.get(document)} for the cloud"
                )
                self._problem(fact, document)

    def _problem(self, what: str, *documents: DocumentId) -> None:
        if len(self.result.problems) < PROBLEMS:
            self.result.problems.append(Problem(what, documents, len(self.result.trace)))

    def _tell(self, who: str, what: str, *documents: DocumentId) -> None:
        self.result.trace.append(Event(self.steps, who, what, documents))


def _merged(cloud: Cloud, partitions: Sequence[Partition]) -> dict[DocumentId, DocumentState]:
    """Every document as it was published last."""
    rows = {document: row for one in partitions for group in one.groups for document, row in group.documents.items()}
    return {document: cloud.state(document, row) for document, row in rows.items()}


def _changed(ran: Ran) -> list[DocumentId]:
    return sorted(ran.states)


_ACTS: Sequence[tuple[Callable[[_World, Device], None], int]] = (
    (_World._command, 35),
    (_World._ship, 15),
    (_World._arrive, 15),
    (_World._merge, 15),
    (_World._fetch, 15),
    (_World._twice, 3),
    (_World._cut, 2),
)
"""What may happen, and how often."""
