"""Mails: any turn tells one, and it goes out if and only if that turn commits."""

from __future__ import annotations

import smtplib
from dataclasses import dataclass
from email.message import EmailMessage

from callboard import Context, Runtime, message

from .settings import Settings


@message("shop.mail")
@dataclass(frozen=True)
class Mail:
    to: str
    subject: str
    text: str = ""


class Mails:
    """Sends over SMTP; a server that is down is tried again, ten times over twenty minutes."""

    def __init__(self, rt: Runtime, settings: Settings) -> None:
        self._settings = settings
        rt.mailbox("mails", self.send, workers=4, timeout=60)

    def send(self, mail: Mail, context: Context) -> None:
        letter = EmailMessage()
        letter["From"] = self._settings.sender
        letter["To"] = mail.to
        letter["Subject"] = mail.subject
        # A kill between the server's "250 OK" and our commit sends a mail again: nothing outside
        # the store can be part of its transaction. Both copies have the same Message-ID.
        letter["Message-ID"] = f"<{context.message_id}@shop.example.org>"
        letter.set_content(mail.text)
        with smtplib.SMTP(self._settings.smtp_host, self._settings.smtp_port, timeout=30) as smtp:
            smtp.send_message(letter)
        context.execute(
            "INSERT INTO mails (message_id, recipient, subject, sent_at) VALUES (?, ?, ?, ?)",
            (context.message_id, mail.to, mail.subject, int(context.now.timestamp())),
        )
