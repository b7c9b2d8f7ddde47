"""All mistakes there are."""

from __future__ import annotations

from tests.mutation.rims.at_rest_mistakes import AT_REST
from tests.mutation.rims.count_mistakes import COUNTS
from tests.mutation.rims.edge_mistakes import EDGES
from tests.mutation.rims.forgetter_mistakes import FORGETTING
from tests.mutation.rims.generation_mistakes import GENERATIONS
from tests.mutation.rims.lost_topic_mistakes import LOST_TOPICS
from tests.mutation.rims.mends import MENDS
from tests.mutation.rims.move_mistakes import MOVES
from tests.mutation.rims.queue_mistakes import QUEUE
from tests.mutation.rims.worker_mistakes import WORKER

ALL = (*WORKER, *FORGETTING, *EDGES, *QUEUE, *AT_REST, *GENERATIONS, *COUNTS, *LOST_TOPICS, *MOVES, *MENDS)
