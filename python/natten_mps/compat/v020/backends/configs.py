# SPDX-License-Identifier: MIT
"""Tile shapes to choose from."""

from ..._common.gna import configs as _configs

get_bwd_configs_for_cutlass_fmha = _configs.no_fmha_configs
get_bwd_configs_for_cutlass_fna = _configs.no_fna_configs
get_configs_for_cutlass_blackwell_fmha = _configs.no_fmha_configs
get_configs_for_cutlass_blackwell_fna = _configs.no_fna_configs
get_configs_for_cutlass_fmha = _configs.no_fmha_configs
get_configs_for_cutlass_fna = _configs.no_fna_configs
get_configs_for_cutlass_hopper_fmha = _configs.no_fmha_configs
get_configs_for_cutlass_hopper_fna = _configs.no_fna_configs
get_configs_for_flex_fmha = _configs.get_configs_for_flex_fmha
get_configs_for_flex_fna = _configs.get_configs_for_flex_fna
