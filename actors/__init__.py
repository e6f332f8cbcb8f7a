"""What lives: mailboxes, workers, timers, schedules and their supervisors."""
