"""From `shop:app` to a contract. Whatever is wrong with the user's module is told in one line."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path

from driftlog_schemas.contract import AppContract
from driftlog_schemas.errors import LoadError


def load_contract(target: str, folder: Path | None = None) -> AppContract:
    """The contract of the app at `module:attribute`, found in `folder` (the current one) or installed.

    Raises:
        LoadError: no such module, an error inside it (with file and line), no such attribute, or not an app.
    """
    module_name, colon, attribute = target.partition(":")
    if not (module_name and colon and attribute):
        raise LoadError(f"{target!r} does not name an app", "write MODULE:ATTRIBUTE, for example shop:app")
    path = str(folder or Path.cwd())
    if path not in sys.path:
        sys.path.insert(0, path)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and module_name.split(".")[0] == error.name.split(".")[0]:
            raise LoadError(
                f"there is no module {module_name!r} in {path}", "run in its folder, or install it"
            ) from error
        raise LoadError(f"module {module_name!r} does not import: {_where(error)}", "install what it needs") from error
    except (Exception, SystemExit) as error:  # the user's module may raise anything; it is told, not hidden
        raise LoadError(f"module {module_name!r} does not import: {_where(error)}", "mend that line") from error
    app = getattr(module, attribute, None)
    contract = getattr(app, "contract", None)
    if not isinstance(contract, AppContract):
        known = [n for n, v in vars(module).items() if isinstance(getattr(v, "contract", None), AppContract)]
        hint = f"write {module_name}:{known[0]}" if known else 'declare one: app = App("shop")'
        raise LoadError(f"module {module_name!r} has no app named {attribute!r}", hint)
    return contract


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "importlib" not in f.filename and not f.filename.startswith(_raised_by(error))]
    place = f" ({own[-1].filename}:{own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{place}"


def _raised_by(error: BaseException) -> tuple[str, ...]:
    """The folder of the package whose error it is: what a declaration does wrong stands where it is written, not where it is found out."""
    package = sys.modules.get(type(error).__module__.partition(".")[0])
    file = getattr(package, "__file__", None)
    return (f"{Path(file).parent}/",) if file else ()
