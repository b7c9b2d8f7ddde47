"""`driftlog topics` and `driftlog schemas` on a real broker and registry: plan says what apply does, and apply twice is apply once."""

from __future__ import annotations

import pytest

from driftlog.testing.servers import RunningBroker
from driftlog_schemas.state_codec import namespace
from driftlog_schemas.topics import Topic
from driftlog_schemas.topics_admin import TopicsAdmin
from tests.integration.cli.shell import Shell

pytestmark = pytest.mark.broker

PARTS = ("ops", "state", "receipts", "conflicts", "parked")


@pytest.fixture
def space(fresh_name: object) -> str:
    assert callable(fresh_name)
    return str(fresh_name("retail"))


@pytest.fixture
def app(shell: Shell, space: str) -> str:
    return shell.declare(space, partitions=3)


def found(broker: RunningBroker, space: str) -> dict[str, Topic]:
    admin = TopicsAdmin(broker.bootstrap)
    return admin.existing([f"{space}.{part}" for part in PARTS])


def test_a_plan_changes_nothing(shell: Shell, app: str, space: str, broker: RunningBroker) -> None:
    plan = shell.run("topics", "plan", "--app", app, "--json").data
    wanted = {made["topic"]: made["partitions"] for made in plan["create"]}
    assert {f"{space}.{part}": 3 for part in PARTS}.items() <= wanted.items()
    assert (plan["alter"], plan["refuse"]) == ([], [])
    assert f"{namespace(space)}.Stock" in plan["register"]
    assert found(broker, space) == {}


def test_apply_makes_what_the_plan_said_and_again_does_nothing(
    shell: Shell, app: str, space: str, broker: RunningBroker
) -> None:
    planned = shell.run("topics", "plan", "--app", app, "--json").data
    done = shell.run("topics", "apply", "--app", app, "--json").data
    assert [made for made in done["create"] if made["topic"].startswith(space)] == [
        made for made in planned["create"] if made["topic"].startswith(space)
    ]
    topics = found(broker, space)
    assert {name: topic.partitions for name, topic in topics.items()} == {f"{space}.{part}": 3 for part in PARTS}
    assert topics[f"{space}.ops"].settings["message.timestamp.type"] == "LogAppendTime"
    assert topics[f"{space}.state"].settings["cleanup.policy"] == "compact"
    again = shell.run("topics", "apply", "--app", app)
    again.assert_done()
    assert again.out.startswith("nothing to change on cluster ")
    assert broker.bootstrap in again.out
    assert "replication 1" in again.out
    assert (done["cluster"]["bootstrap"], done["cluster"]["brokers"]) == (broker.bootstrap, 1)
    assert found(broker, space) == topics


def test_a_plan_beside_a_registry_that_lacks_schemas_says_so(
    shell: Shell, app: str, space: str, broker: RunningBroker, registry_url: str
) -> None:
    """Another registry than the one that the topics were made beside; none that is silent is taken for a good one."""
    fewer = shell.declare(space, module="fewer", partitions=3, collection="Fewer")
    shell.run("topics", "apply", "--app", fewer).assert_done()
    record = f"{namespace(space)}.Stock"
    table = shell.run("topics", "plan", "--app", app)
    assert "nothing to change" not in table.out and "register" in table.out
    assert shell.run("topics", "plan", "--app", app, "--json").data["register"] == [record]
    silent = shell.run("topics", "plan", "--app", app, "--registry", "http://127.0.0.1:1", "--json").data
    assert silent["register"] is None and "registry does not answer" in silent["note"]
    assert shell.run("topics", "apply", "--app", app, "--json").data["register"] == [record]
    assert shell.run("topics", "plan", "--app", app, "--json").data["register"] == []


def test_a_setting_that_somebody_changed_is_put_right(
    shell: Shell, app: str, space: str, broker: RunningBroker
) -> None:
    shell.run("topics", "apply", "--app", app).assert_done()
    name = f"{space}.ops"
    admin = TopicsAdmin(broker.bootstrap)
    good = found(broker, space)[name].settings["retention.ms"]
    _set(admin, name, "retention.ms", "60000")
    planned = shell.run("topics", "plan", "--app", app, "--json").data
    assert planned["alter"] == [{"topic": name, "settings": {"retention.ms": ["60000", good]}}]
    table = shell.run("topics", "plan", "--app", app)
    assert f"60000 -> {good}" in table.out
    shell.run("topics", "apply", "--app", app).assert_done()
    assert found(broker, space)[name].settings["retention.ms"] == good


@pytest.mark.parametrize("words", ["plan", "apply"])
@pytest.mark.parametrize("retention", ["5", "0d", "999999999999d"])
def test_a_retention_that_no_topic_can_have_is_refused_before_the_first_topic(
    shell: Shell, app: str, space: str, broker: RunningBroker, words: str, retention: str
) -> None:
    shell.run("topics", words, "--app", app, "--retention", retention).assert_one_line(2, "'--retention'", "36500d")
    assert found(broker, space) == {}


def test_a_refused_plan_is_data_too(shell: Shell, app: str, space: str) -> None:
    shell.run("topics", "apply", "--app", app).assert_done()
    wider = shell.declare(space, module="wider", partitions=5)
    ended = shell.run("topics", "plan", "--app", wider, "--json")
    ended.assert_one_line(1, "has 3 partitions, the app declares 5")
    assert '"refuse"' in ended.out
    assert f"{space}.state" in ended.out


def test_schemas_are_checked_then_registered_and_again_with_the_same_ids(shell: Shell, app: str, space: str) -> None:
    record = f"{namespace(space)}.Stock"
    verdicts = shell.run("schemas", "check", "--app", app, "--json").data
    assert verdicts[record] is True
    assert all(verdicts.values())
    first = shell.run("schemas", "register", "--app", app, "--json").data
    assert first[record] > 0
    assert len(set(first.values())) == len(first)
    assert shell.run("schemas", "register", "--app", app, "--json").data == first


def test_a_new_field_is_compatible_and_gets_a_new_id(shell: Shell, app: str, space: str) -> None:
    record = f"{namespace(space)}.Stock"
    first = shell.run("schemas", "register", "--app", app, "--json").data
    module = shell.folder / "corner_shop.py"
    module.write_text(module.read_text().replace("    on_hand: Counter\n", "    on_hand: Counter\n    sold: Counter\n"))
    assert shell.run("schemas", "check", "--app", app, "--json").data[record] is True
    second = shell.run("schemas", "register", "--app", app, "--json").data
    assert second[record] != first[record]
    assert {k: v for k, v in second.items() if k != record} == {k: v for k, v in first.items() if k != record}


def test_an_incompatible_schema_is_shown_beside_the_good_ones(shell: Shell, app: str, space: str) -> None:
    shell.run("schemas", "register", "--app", app).assert_done()
    breaking = shell.declare(space, module="breaking", price="str", default="''")
    ended = shell.run("schemas", "check", "--app", breaking)
    ended.assert_one_line(1, f"{namespace(space)}.Stock")
    assert "price was declared as register of int and is now register of text" in ended.err
    assert "driftlog.v1.ChainRow" in ended.out


def test_what_avro_promotes_is_refused_where_it_changes_a_values_meaning(shell: Shell, space: str) -> None:
    """Text becomes bytes by Avro's rules, and a decimal is bytes: the registry alone would take it."""
    texts = shell.declare(space, module="texts", price="str", default="''")
    shell.run("schemas", "register", "--app", texts).assert_done()
    app = shell.declare(space, module="decimals", price="Decimal", default="Decimal(0)")
    module = shell.folder / "decimals.py"
    module.write_text(f"from decimal import Decimal\n{module.read_text()}")
    for words in (("schemas", "check"), ("schemas", "register"), ("topics", "apply")):
        ended = shell.run(*words, "--app", app)
        ended.assert_one_line(1, "price was declared as register of text and is now register of decimal")
        assert "new name" in ended.err


def _set(admin: TopicsAdmin, topic: str, setting: str, value: str) -> None:
    from driftlog_schemas.topics import Alteration, Plan

    admin.apply(Plan([], [Alteration(topic, {setting: ("", value)})], []))
