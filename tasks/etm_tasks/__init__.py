"""Tasks and environments for memory networks: generators, losses and scores. `make(name, **options)` builds one."""

from etm_tasks._copy import Copy as Copy
from etm_tasks._double_t_maze import DoubleTMaze as DoubleTMaze
from etm_tasks._recall import AssociativeRecall as AssociativeRecall
from etm_tasks._registry import ENVIRONMENTS as ENVIRONMENTS
from etm_tasks._registry import TASKS as TASKS
from etm_tasks._registry import make as make
from etm_tasks._registry import options_of as options_of
from etm_tasks._t_maze import TMaze as TMaze
