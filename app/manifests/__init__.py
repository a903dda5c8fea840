"""Agents and bottles on disk: where they are found, whom they may be read from, and what a launch makes of them.

The layout is the trust boundary: only the operator's own config folder may grant access; what a project brings is
text of a stranger, read without following its links and used only after it was confirmed.
"""

from app.manifests.catalogue import load_catalogue
from app.manifests.editing import edit_target, validate_file
from app.manifests.launch import resolve
from app.manifests.project import check_project
from app.manifests.skills import skill_folders
from app.manifests.starters import InitReport, Starter, init, starters
from app.manifests.trust import confirm, unconfirmed

__all__ = [
    "InitReport",
    "Starter",
    "check_project",
    "confirm",
    "edit_target",
    "init",
    "load_catalogue",
    "resolve",
    "skill_folders",
    "starters",
    "unconfirmed",
    "validate_file",
]
