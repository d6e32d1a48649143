# SPDX-License-Identifier: MIT
"""Environment variables, as ``natten.utils.environment`` and ``natten._environment`` read them."""

import os

import torch
from packaging.version import Version


def parse_env_str(env_var: str, default: str) -> str:
    """The variable's text, or the default."""
    return os.environ.get(env_var, default)


def parse_env_int(env_var: str, default: int) -> int:
    """The variable as a number; the default if it is unset or not a number."""
    text = os.environ.get(env_var, "")
    return int(text) if text.strip().lstrip("-").isdigit() else default


def parse_env_flag(env_var: str, default: bool) -> bool:
    """Whether the variable is a number other than 0."""
    return bool(parse_env_int(env_var, int(default)))


def is_torch_compiling() -> bool:
    """Whether torch.compile is tracing."""
    return torch.compiler.is_compiling()


DISABLE_TQDM = parse_env_flag("NATTEN_DISABLE_TQDM", False)
#: False: there are no libnatten operators to register.
DISABLE_TORCH_OPS = True
#: Token permutation uses torch operations only.
USE_TORCH_IMPL_DEFAULT = True
_RUN_EXTENDED_TESTS = parse_env_flag("NATTEN_RUN_EXTENDED_TESTS", False)
_RUN_ADDITIONAL_KV_TESTS = parse_env_flag("NATTEN_RUN_ADDITIONAL_KV_TESTS", False)
_RUN_FLEX_TESTS = parse_env_flag("NATTEN_RUN_FLEX_TESTS", True)
_NUM_RAND_SWEEP_TESTS = parse_env_int("NATTEN_RAND_SWEEP_TESTS", 1000)
_IS_CUDA_AVAILABLE = torch.cuda.is_available()
_IS_TORCH_COMPILE_SUPPORTED = True
_TORCH_VERSION = list(Version(torch.__version__).release[:2])
