"""Speed against fastai 2.8 and bare PyTorch: `python -m tools.bench pictures|epochs|tables`.

Every contender (`ours`, `fastai`) makes an epoch to call from the same `work`. `measure` times it
in a fresh process; rounds are interleaved, so that a busy machine slows all contenders alike: the
ratios count, not the seconds. `tables` times the cells of lesson 3.
"""
