"""Power as Linux shows it: one folder for each supply in `/sys/class/power_supply`, one small file for each of its facts.

Source: the kernel's "Linux power supply class". Batteries of what is merely connected (`scope` is `Device`: a mouse) do not feed the machine. Where a
battery is all there is, its `status` says whether something charges it.
"""

from __future__ import annotations

from pathlib import Path

from driftlog_edge.power.reading import MOST_BYTES, HookFailed, Power

FOLDER = Path("/sys/class/power_supply")
MOST_SUPPLIES = 64


def read_supplies(folder: Path) -> Power:
    """Blocking. Raises `HookFailed`."""
    try:
        supplies = sorted(folder.iterdir())[:MOST_SUPPLIES]
    except OSError as error:
        raise HookFailed(
            f"{folder} cannot be read: {error.strerror}", "choose another power.source, or mend power.path"
        ) from error
    batteries = [one for one in supplies if _fact(one, "type") == "Battery" and _fact(one, "scope") != "Device"]
    online = [on for one in supplies if one not in batteries and (on := _fact(one, "online")) is not None]
    charges = [_percent(one, charge) for one in batteries if (charge := _fact(one, "capacity")) is not None]
    mains = any(on != "0" for on in online) if online else _charged(batteries)
    return Power(mains=mains, battery_percent=sum(charges) / len(charges) if charges else None)


def _charged(batteries: list[Path]) -> bool | None:
    told = {_fact(one, "status") for one in batteries} - {None, "Unknown"}
    return None if not told else "Discharging" not in told


def _percent(supply: Path, text: str) -> float:
    if not text.isascii() or not text.isdecimal() or int(text) > 100:
        raise HookFailed(f"{supply.name} says a capacity of {text[:20]!r}", "choose another power.source")
    return float(text)


def _fact(supply: Path, name: str) -> str | None:
    """One fact of a supply; None where it has none, or is gone at this moment."""
    try:
        with (supply / name).open("rb") as file:
            return file.read(MOST_BYTES).decode("ascii", "replace").strip()
    except OSError:
        return None
