"""The prompt library: ready tasks, in the starter library and in the operator's `prompts` folder, whose files win.
Reads files only; a task is text that the operator chooses and sees before it goes anywhere."""

from pathlib import Path

from app.core.frontmatter import MAX_FILE, split
from app.core.model import PromptEntry
from app.errors import CarboyError, NotFound
from app.files import read_bounded
from app.manifests.folders import list_home
from app.manifests.starters import library
from app.paths import Paths

FOLDER = "prompts"
MAX_DESCRIPTION = 200
MAX_TEXT = 64 * 1024
MAX_PROMPTS = 200


def prompts(paths: Paths) -> tuple[PromptEntry, ...]:
    """All ready tasks by name. A broken file is listed with its error."""
    places = {
        name: folder for folder in (library() / FOLDER, paths.config / FOLDER) for name in list_home(folder).names
    }
    return tuple(_entry(places[name] / f"{name}.md", name) for name in sorted(places)[:MAX_PROMPTS])


def prompt(paths: Paths, name: str) -> str:
    """The text of one. Raises CarboyError where there is none, or it is broken."""
    known = prompts(paths)
    found = next((one for one in known if one.name == name), None)
    if found is None:
        hint = f"There are: {', '.join(one.name for one in known)}. Your own: {paths.config / FOLDER}/{name}.md"
        raise NotFound(f"no ready task is called {name!r}", hint, "no_such_prompt")
    if found.error:
        raise CarboyError(found.error, "", "config")
    return found.text


def _entry(file: Path, name: str) -> PromptEntry:
    try:
        source = split(read_bounded(file, MAX_FILE), str(file))
    except OSError as error:
        return PromptEntry(name=name, error=f"{file}: {error.strerror or error}")
    except CarboyError as error:
        return PromptEntry(name=name, error=error.render())
    head = source.document.value
    given = head.get("description") if isinstance(head, dict) else None
    text = given if isinstance(given, str) else next(iter(source.body.splitlines()), "")
    if len(source.body) > MAX_TEXT:
        return PromptEntry(name=name, error=f"{file}: a task is at most {MAX_TEXT // 1024} KiB")
    if not source.body:
        return PromptEntry(name=name, error=f"{file}: there is no task below the frontmatter")
    return PromptEntry(name=name, description=" ".join(text.split())[:MAX_DESCRIPTION], text=source.body)
