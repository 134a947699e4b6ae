"""What ``celery -A quanta_pipelines.worker worker -Q quanta`` serves: runs of this deployment."""

from kombu.entity import Queue

from quanta_pipelines.instance import CELERY, DEFAULT_QUEUE, PINNED_QUEUE, write_instance
from quanta_pipelines.run_launcher import celery_app
from quanta_pipelines.settings import current_settings

_QUEUES = (DEFAULT_QUEUE, PINNED_QUEUE)

write_instance(current_settings())
app = celery_app(current_settings().broker_url.get_secret_value(), DEFAULT_QUEUE, CELERY)
app.conf.task_queues = [
    Queue(name, routing_key=f"{name}.#")  # type: ignore[no-untyped-call]
    for name in _QUEUES
]
