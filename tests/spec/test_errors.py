import pickle

from tune_distill.spec.errors import NonFiniteLossError


def test_a_non_finite_loss_error_can_be_pickled():
    error = pickle.loads(pickle.dumps(NonFiniteLossError(7, float("nan"))))
    assert (error.step, str(error.loss)) == (7, "nan")
    assert str(error) == (
        "train.loss: must be finite, got nan at step 7; "
        "try a lower learning rate, more warm-up or stronger clipping"
    )


def test_a_non_finite_loss_before_any_update_is_blamed_on_the_student():
    error = pickle.loads(pickle.dumps(NonFiniteLossError(1, float("inf"), updates=0)))
    assert str(error) == (
        "train.loss: must be finite, got inf at step 1; "
        "the student itself overflows on these examples, so use another student"
    )
