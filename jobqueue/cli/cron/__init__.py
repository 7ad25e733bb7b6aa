"""`jobqueue cron`: schedules, made, changed, looked at, run, made up for."""
