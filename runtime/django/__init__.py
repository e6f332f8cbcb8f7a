"""The Django application: ``INSTALLED_APPS = [..., "callboard.runtime.django"]``.

Settings:

- ``CALLBOARD_RUNTIME``: the dotted path of your Runtime, such as ``"shop.board.rt"``. Required.
- ``CALLBOARD_EMBED``: True (default): a process that serves requests owns the store or stands by.
  False: web processes only send, and ``manage.py callboard`` handles.
- ``CALLBOARD_TIMEOUT``: seconds that running handlers may take when a serving process ends (10).
"""
