"""What fetches and receivers see of a session."""

from typing import TYPE_CHECKING

from gobbler.websocket.peer import Peer, Services
from tests.websocket.rig import memory_store, world

if TYPE_CHECKING:
    from gobbler.websocket.session import Session

    def is_a_peer(session: Session) -> Peer:
        """Have the type checker see that a session is all that is asked for."""
        return session


def test_sessions_share_the_services() -> None:
    with world(memory_store()) as there:
        (_, one), (_, two) = there.connect("u"), there.connect("v")
        assert one.services is two.services is there.services
        assert one.params is not two.params


def test_the_clock_is_the_systems_where_none_is_given() -> None:
    with world(memory_store()) as there:
        services = Services(there.intake, there.router, there.store, there.metrics, 1)
        assert services.clock() > 1_400_000_000
