"""Prefix-cache affinity: prompts that begin alike go to the same replica, which has their beginning in its KV cache.

Serve pickles this module by value, for processes that cannot import it.
"""

import os
import time
from collections.abc import Generator
from contextlib import contextmanager

from ray.exceptions import RayActorError

# Not from ray.serve.llm.request_router, which imports vLLM: 10 s in each process that routes.
from ray.llm._internal.serve.routing_policies.prefix_aware.prefix_aware_router import PrefixCacheAffinityRouter
from ray.serve._private.request_router import PowerOfTwoChoicesRequestRouter

LOAD_IS_FRESH_S = 1.0  # guess: what replicas say of their queues is asked for this often, two messages each


class PrefixRouter(PrefixCacheAffinityRouter):
    """Ray's PrefixCacheAffinityRouter, working in direct streaming too.

    There, Ray 2.59 takes the first replica of the router's answer, does not tell the router that it did, and counts no
    requests: the router remembers no prompt and sends all of them to one replica. A prompt without text, such as an
    image alone, is answered with status 503. So is every request once the actor with the remembered prompts is gone,
    for instance with the node that it was on.
    """

    _new_tree = None
    """The task that makes a new tree, while there is one."""

    def initialize_state(self, **settings) -> None:
        self._settings = settings
        self._load_asked_at = 0.0
        self._is_direct = os.environ.get("RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING") == "1"
        super().initialize_state(**settings)

    async def choose_replicas(self, candidate_replicas, pending_request=None):
        if not candidate_replicas or self._new_tree or not self._has_prompt(pending_request):
            return await PowerOfTwoChoicesRequestRouter.choose_replicas(self, candidate_replicas, pending_request)
        choose = self._choose_one if self._is_direct else super().choose_replicas
        with self._tree_may_be_lost():
            try:
                return await choose(candidate_replicas, pending_request)
            except KeyError:
                pass  # the tree, which outlives this router, has a replica that this router does not know
        return [sorted(candidate_replicas, key=self._load)]

    async def _choose_one(self, candidate_replicas, pending_request):
        """The replica with the shortest queue of those that match best; of all, where the load is uneven."""
        await self._refresh_loads(candidate_replicas)
        (best,) = await self._prefix_match_best_replicas(pending_request, candidate_replicas)
        chosen = min(best or candidate_replicas, key=self._load)
        self.on_send_request(chosen.replica_id)
        self.on_request_routed(pending_request, chosen.replica_id, None)
        return [[chosen]]

    def _load(self, replica) -> int:
        return self._replica_queue_len_cache.get(replica.replica_id) or 0

    def _has_prompt(self, pending_request) -> bool:
        if pending_request is None or not pending_request.args:
            return False
        try:
            return bool(self._extract_text_from_request(pending_request))
        except ValueError:
            return False  # neither messages nor a prompt, such as a request for embeddings

    async def _refresh_loads(self, replicas) -> None:
        """Ask the replicas for their queues; in between, the requests that were sent since are added."""
        if time.monotonic() - self._load_asked_at > LOAD_IS_FRESH_S:
            self._load_asked_at = time.monotonic()
            await self._probe_queue_lens(list(replicas), 0)

    @contextmanager
    def _tree_may_be_lost(self) -> Generator[None]:
        try:
            yield
        except RayActorError:
            if not self._new_tree:
                self._new_tree = self._event_loop.create_task(self._make_new_tree())

    async def _make_new_tree(self) -> None:
        """Make the tree of prefixes. Until it is there the load decides: its actor takes seconds to start, and a call
        would stop this router."""
        try:
            super().initialize_state(**self._settings)
            await self._add_replicas()
            self.update_replicas(list(self._replicas.values()))  # starts the eviction
            await self._add_replicas()  # those that came in the meantime
        except RayActorError:
            pass  # the name still belongs to the one that ended; the next request finds it lost again
        finally:
            self._new_tree = None

    def _add_replicas(self):
        names = [replica_id.to_full_id_str() for replica_id in self._replica_id_set]
        return self._tree_actor.add_tenants.remote(names, time.time())

    def update_replicas(self, replicas) -> None:
        with self._tree_may_be_lost():
            super().update_replicas(replicas)

    def on_replica_actor_died(self, replica_id) -> None:
        with self._tree_may_be_lost():
            super().on_replica_actor_died(replica_id)

    def on_request_routed(self, pending_request, replica_id, result) -> None:
        if not self._new_tree and self._has_prompt(pending_request):
            with self._tree_may_be_lost():
                super().on_request_routed(pending_request, replica_id, result)
