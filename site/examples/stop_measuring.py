"""Measure until the answer is known well enough, and no longer.

SuperFlow's rule looks at the accuracy of the percentiles and at their stability, and stops where both hold.
"""

import numpy as np

from reference_impls.measurement.superflow import Config, Stopper

rng = np.random.default_rng(0)
stopper = Stopper(Config(error_bound=0.02, interval=10, max_n=2000))
count, known = 0, False
while not known:
    count += 1
    latency = rng.lognormal(mean=-3.0, sigma=0.1)  # a program that takes about 50 ms
    known = stopper.update(latency).converged
print(f"known to 2 % after {count} runs")
assert count < 2000
