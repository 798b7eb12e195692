"""Tasks and environments for memory networks: generators, losses and scores. `make(name, **options)` builds one."""

from etm_tasks._add_numbers import AddNumbers as AddNumbers
from etm_tasks._addition import Addition as Addition
from etm_tasks._copy import Copy as Copy
from etm_tasks._double_t_maze import DoubleTMaze as DoubleTMaze
from etm_tasks._inference import Inference as Inference
from etm_tasks._logic import Logic as Logic
from etm_tasks._n_grams import NGrams as NGrams
from etm_tasks._parity import Parity as Parity
from etm_tasks._priority_sort import PrioritySort as PrioritySort
from etm_tasks._recall import AssociativeRecall as AssociativeRecall
from etm_tasks._registry import ENVIRONMENTS as ENVIRONMENTS
from etm_tasks._registry import TASKS as TASKS
from etm_tasks._registry import make as make
from etm_tasks._registry import options_of as options_of
from etm_tasks._repeat_copy import RepeatCopy as RepeatCopy
from etm_tasks._reverse_copy import ReverseCopy as ReverseCopy
from etm_tasks._shortest_path import ShortestPath as ShortestPath
from etm_tasks._t_maze import TMaze as TMaze
from etm_tasks._traversal import Traversal as Traversal
from etm_tasks._vocab_copy import VocabCopy as VocabCopy
from etm_tasks._vocab_repeat_copy import VocabRepeatCopy as VocabRepeatCopy
