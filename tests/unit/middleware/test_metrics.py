from jobqueue.middleware import Metrics


def test_settled_attempts_are_counted_by_queue_type_and_outcome() -> None:
    metrics = Metrics()

    metrics.count("mail", "email.send", "completed", 0.5)
    metrics.count("mail", "email.send", "completed", 0.25)
    metrics.count("mail", "email.send", "dead", 0.25)

    assert metrics.settled == {("mail", "email.send", "completed"): 2, ("mail", "email.send", "dead"): 1}


def test_the_handlers_time_is_summed_by_queue_and_type() -> None:
    metrics = Metrics()

    metrics.count("mail", "email.send", "completed", 0.5)
    metrics.count("mail", "email.send", "dead", 0.25)
    metrics.count("other", "email.send", "completed", 2.0)

    assert metrics.seconds == {("mail", "email.send"): 0.75, ("other", "email.send"): 2.0}
