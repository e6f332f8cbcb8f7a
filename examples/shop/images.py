"""Images: the upload is stored with its message, the thumbnail with the end of that message."""

from __future__ import annotations

import io
from uuid import uuid4

from PIL import Image, UnidentifiedImageError

from callboard import Context, Reject, Runtime

SIZE = (128, 128)


class Images:
    def __init__(self, rt: Runtime) -> None:
        self._rt = rt
        rt.mailbox("images.thumbnail", self.thumbnail, workers=2, timeout=30)

    def upload(self, original: bytes) -> str:
        """Keep an image, and have its thumbnail made; returns its number."""
        image = uuid4().hex
        with self._rt.transaction() as tx:
            tx.execute("INSERT INTO images (id, original) VALUES (?, ?)", (image, original))
            tx.tell(self.thumbnail, image)  # the message names the row, it does not carry it
        return image

    def thumbnail(self, image: str, context: Context) -> None:
        ((original,),) = context.query("SELECT original FROM images WHERE id = ?", (image,))
        small = io.BytesIO()
        try:
            with Image.open(io.BytesIO(original)) as picture:
                picture.thumbnail(SIZE)
                picture.convert("RGB").save(small, "JPEG")
        except UnidentifiedImageError as error:
            raise Reject(f"{image} is no image") from error  # trying again would not help
        context.execute("UPDATE images SET thumbnail = ? WHERE id = ?", (small.getvalue(), image))
