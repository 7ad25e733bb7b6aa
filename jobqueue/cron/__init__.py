"""When a schedule is due: a cron expression, read in a time zone."""

from jobqueue.cron.schedule import MAX_EXPRESSION_CHARS as MAX_EXPRESSION_CHARS
from jobqueue.cron.schedule import CronSchedule as CronSchedule
from jobqueue.cron.schedule import TickPreview as TickPreview
