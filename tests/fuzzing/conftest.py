"""A house for fuzzing, with what is alice's in it: nothing that is drawn may change that."""

from tests.doors.conftest import house

__all__ = ["house"]
