# SPDX-License-Identifier: MIT
"""What natten_mps needs in a frozen program: modules imported by name, data, and the library."""

from PyInstaller.utils.hooks import collect_data_files, collect_dynamic_libs, collect_submodules

hiddenimports = collect_submodules("natten_mps", filter=lambda name: "_pyinstaller" not in name)
datas = collect_data_files("natten_mps")
binaries = collect_dynamic_libs("natten_mps")
