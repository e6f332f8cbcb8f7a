"""``manage.py callboard``: a process that handles messages and serves no requests."""

from __future__ import annotations

from django.apps import apps
from django.core.management.base import BaseCommand


class Command(BaseCommand):  # type: ignore[misc]  # Django has no types
    """Own the store, or stand by, until SIGTERM or Ctrl-C."""

    help = "Handle messages until SIGTERM or Ctrl-C; stands by while another process does."

    def handle(self, *args: object, **options: object) -> None:
        """Run the runtime that ``CALLBOARD_RUNTIME`` names."""
        apps.get_app_config("callboard").runtime.run()
