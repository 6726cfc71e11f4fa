"""The usual short names of other libraries, which the cells of the videos take for granted."""

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

__all__ = ["PIL", "F", "Flatten", "Path", "math", "nn", "np", "optim", "os", "partial", "pd"]
__all__ += ["pickle", "plt", "torch"]
