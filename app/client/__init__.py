"""The controller's typed client: one method for each route of its API, and nothing else.

Screens and the command line talk to carboy through this alone. It reconnects by itself, starts a controller where none
answers, and raises the same `CarboyError`s that the controller raised.
"""

from app.client.api import Client
from app.client.streams import RemoteTerminal

__all__ = ["Client", "RemoteTerminal"]
