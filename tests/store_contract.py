"""What every store must do: run it by a class with a ``store`` and an ``other`` fixture.

::

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self) -> Iterator[Store]: ...

        @pytest.fixture
        def other(self, store: Store) -> Iterator[Store]: ...

``other`` is the same store as another process sees it: nothing in memory is shared. Statements are
plain SQL without parameters.
"""

from __future__ import annotations

from .store_contract_groups import GroupContract
from .store_contract_past import PastContract
from .store_contract_reading import ReadingContract
from .store_contract_schedules import ScheduleContract
from .store_contract_writing import WritingContract


class StoreContract(
    WritingContract, GroupContract, ReadingContract, PastContract, ScheduleContract
):
    """The whole of it."""
