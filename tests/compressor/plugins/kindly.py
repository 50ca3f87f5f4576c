"""A plug-in that takes part in all that there is."""

from __future__ import annotations

import hashlib
import os
import time

from chipmunk.hooks import Ingested, Plugin, Refused, Sharing, Tagged


class Kindly(Plugin):
    def after_ingest(self, ingested: Ingested) -> Tagged | None:
        if ingested.filename == "deadly" and time.time() < self.options["dies_until"]:
            os._exit(1)
        right = hashlib.sha256(ingested.file.read()).hexdigest() == ingested.sha256
        return Tagged((ingested.mime, "whole" if right else "broken", "É", "e\u0301"))

    def before_share(self, sharing: Sharing) -> Refused | None:
        if sharing.address is None:
            return None if sharing.audience == "user:bob" else Refused(f"No {sharing.kind} for {sharing.audience}.")
        if sharing.address.endswith("@" + self.options["within"]):
            return None
        return Refused(f"{sharing.kind} {sharing.subject!r} may not leave for {sharing.address}.")
