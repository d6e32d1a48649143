# SPDX-License-Identifier: MIT
"""Maps NATTEN releases to generations and their names to modules here; lists unsupported names."""

import re
from collections.abc import Iterator
from functools import cache

from packaging.version import Version

#: NATTEN as it is imported, and as its distribution is called.
NAME = "natten"

# (first release after the generation, generation).
_GENERATIONS = (("0.15", "v014"), ("0.16", "v015"), ("0.20", "v017"), ("0.21", "v020"))
_NEWEST = "v021"

# 0.21.0 and 0.21.1 still have the signatures and features of 0.20.
_LIKE_020 = Version("0.21.5")

# Modules of 0.20 that differ from 0.21; all others are shared with 0.21.
_ONLY_020 = ("_checks", "_permute", "functional")

_SHARED_017 = "utils.tensor:_common.tokens utils.testing:_common.skips types:_common.types"
_GNA = f"""
    attn_merge:functional backends:_backends backends.flex:_backends
    backends.reference:_backends backends.configs:_configs backends.configs.checks:_configs
    backends.configs.flex:_configs context:_common.gna.switches functional:functional
    modules:_modules token_permute:_permute token_permute.frontend:_permute
    token_permute.torch_impl:_permute utils.checks:_checks utils.device:_common.capabilities
    utils.dtype:_common.capabilities utils.environment:_common.environment
    utils.log:{{log}} utils.tuples:_common.types utils.varlen:_common.gna.varlen
    _environment:_common.environment _libnatten:_common.libnatten {_SHARED_017}
"""
_LAYERS = "natten1d:_modules natten2d:_modules natten3d:_modules flops:_common.flops"

# Module of natten : module here, relative to the generation or, with an underscore, to compat.
PLACES = {
    "v014": f"functional:functional {_LAYERS}",
    "v015": f"""
        functional:functional,_common.capabilities nested:_nested ops:_common.cross
        utils.tensor:_common.tokens utils.testing:_common.skips utils.typing:_common.types {_LAYERS}
    """,
    "v017": f"""
        autotuner:_tuner autotuner.misc:_common.capabilities
        autotuner.fna_forward:_tuner autotuner.fna_backward:_tuner
        context:context,_common.capabilities experimental:functional flex:_flex
        functional:functional na1d:_modules na2d:_modules na3d:_modules nested:_nested
        ops:_ops,_common.cross utils.checks:_checks utils.log:_common.log
        utils.misc:_common.capabilities {_SHARED_017} {_LAYERS}
    """,
    "v020": _GNA.format(log="_common.log"),
    "v021": _GNA.format(log="_common.gna.log,_common.log"),
}

# Modules to search first before a release: (that release, generations, module of natten, module
# here).
_OLDER = (
    (Version("0.17.4"), "v014 v015 v017", "natten.flops", "_common.flops_0173"),
    (Version("0.17.4"), "v017", "natten.functional", "v017._fused_0173"),
)

_CUDA = (
    "it belongs to CUDA kernels, and there are none here; leave `backend` out, or use "
    "natten.functional"
)
_LIBNATTEN = (
    "the compiled extension, whose functions write into buffers of CUDA kernels; "
    "natten.functional has the operations"
)
_PROFILER = "it measures CUDA kernels; `python -m natten_mps bench` and torch.profiler measure here"
_TUNER = "a part of upstream's search for tile shapes; natten.autotuner.autotune_fna is served"
_FLEX = "a part of the way to torch's Flex Attention, which is not used here; use natten.functional"
_INTERNAL = "a part of upstream's machinery; natten.functional has the operations"

# (pattern for "module name", why it is not available); the first match counts.
_REASONS = (
    (r"natten\.(libnatten|_C|_libnatten\.\w+)( .*)?", _LIBNATTEN),
    (r"natten\._libnatten (?!HAS_LIBNATTEN$|__).+", _LIBNATTEN),
    (r"\S+ (libnatten|_C)", _LIBNATTEN),
    (r"natten\.profil.*", _PROFILER),
    (r"natten\.autotuner\.configs.*", _TUNER),
    (r"natten\.autotuner\S* (FNA_.*|.*Inputs\w*|run_.*|initialize_.*|.*ConfigT|_FNA.*)", _TUNER),
    (r"natten\.autotuner\S* (get_(max|min)_splits)", _TUNER),
    (r"natten\.backends\.(fna|fmha) (?!.*(flex|Flex|Type|DimensionType|log|check)).*", _CUDA),
    (r"natten\.backends\.(configs\.)?(hopper|blackwell|cutlass)\w*(\.\S*)?( .*)?", _CUDA),
    (r"natten\.token_permute\.cutlass_impl( .*)?", _CUDA),
    (r"natten\.(functional|backends\S*) (?!get_(bwd_)?configs_for_|can_run_).*"
     r"([cC]utlass|[hH]opper|[bB]lackwell)(?!.*ConfigType).*", _CUDA),
    (r"natten\.token_permute\S* .*cutlass.*", _CUDA),
    (r"\S+ (amp_fwd|amp_bwd|torch_ver|custom_mapping)", _INTERNAL),
    (r"natten\.\S+ (get_flex_attention_\w+|get_na_flex_mask|run_flex_attn|idx2crd|_?FlexAtt.*)",
     _FLEX),
    (r"natten\.experimental (FlopCountFn|na\dd_(op_fake|torch_library_op|flop_count))", _INTERNAL),
    (r"natten\.backends\.reference (.*Autograd.*|make_.*)", _INTERNAL),
    (r"natten\.attn_merge MergeAttentionsAutogradFn", _INTERNAL),
    (r"\S+ (maybe_torch_compile|merge_attentions_(compile|fn))",
     "it wraps torch.compile round a private function; use merge_attentions"),
    (r"natten\.token_permute\S* (DISABLE_PADDING_WARNING|TOKEN_PERMUTE_PADDING\w+)", _INTERNAL),
    (r"natten\.utils\.checks log_or_raise_error", _INTERNAL),
)  # fmt: skip

# Names served although the release does not record them: names of earlier releases of the
# generation that programs pinned to those still use, and a private name used by upstream's tests.
MORE = {
    ("v017", "natten.functional"): tuple(
        f"natten{rank}d{kind}" for rank in (1, 2, 3) for kind in ("qk", "qkrpb", "av")
    ),
    ("v021", "natten.utils.log"): ("_get_log_pipe",),
}

_OLD_PATH = (
    "You attempted to import from natten.natten{0}d. Please switch to natten.na{0}d instead."
)
# Warnings that importing a module of natten logs.
NOTES = {("v017", f"natten.natten{n}d"): _OLD_PATH.format(n) for n in (1, 2, 3)}


def generation(version: str | Version) -> str:
    """Name of the subpackage that implements a NATTEN version.

    Pre-releases count as the release they precede. Raises
    ``packaging.version.InvalidVersion`` for text that is not a version.
    """
    release = Version(Version(str(version)).base_version)
    for end, name in _GENERATIONS:
        if release < Version(end):
            return name
    return _NEWEST


@cache
def _table(generation: str) -> dict[str, list[str]]:
    pairs = (entry.split(":") for entry in PLACES[generation].split())
    return {module: places.split(",") for module, places in pairs}


def of(generation: str, version: Version, module: str) -> Iterator[str]:
    """Modules below natten_mps.compat that may define a name of a module of natten."""
    for end, generations, where, place in _OLDER:
        if version < end and generation in generations and module == where:
            yield place
    own = ("v020", "v021") if generation >= "v020" and version < _LIKE_020 else (generation,)
    for place in _table(generation).get(module.removeprefix("natten."), ()):
        if place.startswith("_common."):
            yield place
        else:
            yield from (f"{g}.{place}" for g in own if g != "v020" or place in _ONLY_020)


def compiled(module: str) -> bool:
    """Whether this is a name of upstream's compiled extension, which no source file records."""
    return module in ("natten.libnatten", "natten._C")


@cache
def reason(module: str, name: str) -> str | None:
    """Why a name of a module of natten (or, with an empty name, the module) is unavailable."""
    text = f"{module} {name}" if name else module
    return next((why for pattern, why in _REASONS if re.fullmatch(pattern, text)), None)
