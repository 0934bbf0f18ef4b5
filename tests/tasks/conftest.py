"""One thread, torch's state restored, a hub that answers, and small students."""

from tests.science import (  # noqa: F401
    examples,
    folder,
    hub_that_answers,
    one_thread,
    own_torch_state,
    taught_t5,
    tiny_t5,
)
