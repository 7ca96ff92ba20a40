"""Session affinity: requests with the same session header go to the same replica.

Serve pickles this module by value, for processes that cannot import it.
"""

import logging

from ray.serve._private.constants import SERVE_LOGGER_NAME, SERVE_SESSION_ID
from ray.serve.experimental.consistent_hash_router import ConsistentHashRouter


class SessionRouter(ConsistentHashRouter):
    """Ray's, which says once when requests come without the header: they are spread evenly, without affinity."""

    _said = False

    def _routing_key(self, pending_request):
        if pending_request and not pending_request.metadata.session_id and not self._said:
            self._said = True
            logging.getLogger(SERVE_LOGGER_NAME).warning(
                f"A request came without the header {SERVE_SESSION_ID}. Such requests go to any replica. Send the "
                "header, one value for each conversation, or set RAY_SERVE_SESSION_ID_HEADER_KEY to the one that your "
                "clients send."
            )
        return super()._routing_key(pending_request)
