"""Memory cells, written for one sequence of one network; they know no population."""

from etm_jax.cells._kinds import Carry as Carry
from etm_jax.cells._kinds import Controller as Controller
from etm_jax.cells._kinds import Memory as Memory
from etm_jax.cells._kinds import MemoryStep as MemoryStep
from etm_jax.cells._kinds import Parameter as Parameter
from etm_jax.cells._kinds import Sizes as Sizes
from etm_jax.cells._modules import DNCCell as DNCCell
from etm_jax.cells._modules import HardTapeCell as HardTapeCell
from etm_jax.cells._modules import MemoryCell as MemoryCell
from etm_jax.cells._modules import MemoryNetwork as MemoryNetwork
from etm_jax.cells._modules import NTMCell as NTMCell
from etm_jax.cells._modules import PlainCell as PlainCell
from etm_jax.cells._modules import SizedCell as SizedCell
from etm_jax.cells._modules import TapeCell as TapeCell
from etm_jax.cells._parameters import PARAMETERS as PARAMETERS
from etm_jax.cells._parameters import table_of as table_of
from etm_jax.cells._registry import CONTROLLERS as CONTROLLERS
from etm_jax.cells._registry import MEMORIES as MEMORIES
from etm_jax.cells._spec import Active as Active
from etm_jax.cells._spec import CellSpec as CellSpec
from etm_jax.cells._unroll import Unrolled as Unrolled
from etm_jax.cells._unroll import cell_unroll as cell_unroll
