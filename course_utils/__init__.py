"""The helper package of the course: `from course_utils import *` gives what the videos' cells use.

That is every public name of the modules, and the usual short names (np, pd, plt, torch, nn, F, …). The lessons import
by name instead, so that a reader sees where things come from.
"""

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn, optim

from .core import *
from .data import *
from .interpret import *
from .learner import *
from .loaders import *
from .metrics import *
from .models import *
from .plots import *
from .results import *
from .schedule import *
from .transforms import *
from .vision import *
