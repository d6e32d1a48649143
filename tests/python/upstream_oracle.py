# SPDX-License-Identifier: MIT
"""Runs in an environment with upstream NATTEN: problems from a file, results to another.

    python upstream_oracle.py PROBLEMS RESULTS

Each problem is {"function", "tensors", "arguments"}; each result is a list of tensors or
[exception name, text]. This file knows nothing of natten_mps.
"""

import logging
import sys
import warnings

import natten
import torch

EXPECTED = "0.21.7"


def run(problem):
    function = getattr(natten, problem["function"])
    try:
        with torch.no_grad():
            result = function(*problem["tensors"], **problem["arguments"])
    except Exception as error:
        return [type(error).__name__, str(error)]
    return list(result) if isinstance(result, tuple) else [result]


def main(problems, results):
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    assert natten.__version__ == EXPECTED, natten.__version__
    answers = [run(problem) for problem in torch.load(problems, weights_only=True)]
    torch.save(answers, results)


if __name__ == "__main__":
    main(*sys.argv[1:])
