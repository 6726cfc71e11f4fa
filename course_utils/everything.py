"""All that the videos' cells use: the public names of the modules, and the usual short ones (np, pd, torch, …)."""

import math
import os
import pickle
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import PIL.Image
import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.nn import Flatten

from . import metrics
from .collab import *
from .core import *
from .data import *
from .hooks import *
from .interpret import *
from .learner import *
from .loaders import *
from .metrics import *
from .models import *
from .plotting import *
from .results import *
from .rnn import *
from .schedule import *
from .tabular import *
from .text import *
from .transforms import *
from .vision import *

__all__ = [name for name in globals() if not name.startswith("_")]
