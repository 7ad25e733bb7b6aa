"""The queues of the tasks and the queues that are served."""

from jobqueue.cli.served import unserved, with_all_queues
from jobqueue.config import Settings
from jobqueue.registry import Registry


def registry() -> Registry:
    made = Registry()
    for name, queue in (("a", "default"), ("b", "mail"), ("c", "images"), ("d", "mail")):
        made.task(name, queue=queue)(lambda: None)
    return made


def test_tasks_of_queues_that_are_not_served_are_found() -> None:
    assert unserved(registry(), ("default", "low")) == {"images": ["c"], "mail": ["b", "d"]}
    assert unserved(registry(), ("mail", "images", "default")) == {}


def test_the_queues_of_all_tasks_come_behind_the_chosen_ones() -> None:
    settings = with_all_queues(Settings.load({"WORKER_QUEUES": "low,mail"}), registry())

    assert settings.worker.queues == ("low", "mail", "default", "images")


def test_a_schedule_may_have_a_queue_that_no_task_has() -> None:
    made = registry()
    made.cron("@hourly", queue="slow")(made.get("a"))
    made.cron("@daily", queue="slow", name="daily")(made.get("a"))

    assert unserved(made, ("default", "mail", "images")) == {"slow": ["a"]}
    settings = with_all_queues(Settings.load({"WORKER_QUEUES": "default,mail,images"}), made)
    assert settings.worker.queues == ("default", "mail", "images", "slow")
