"""One thread, torch's state as it was, and small students."""

from tests.science import (  # noqa: F401
    examples,
    hub_that_answers,
    one_thread,
    own_torch_state,
    tiny_t5,
)
