# SPDX-License-Identifier: MIT
# Defines the target natten_mps::natten_mps.
get_filename_component(_natten_mps_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
if(NOT TARGET natten_mps::natten_mps)
  add_library(natten_mps::natten_mps SHARED IMPORTED)
  set_target_properties(natten_mps::natten_mps PROPERTIES
    IMPORTED_LOCATION
      "${_natten_mps_prefix}/lib/${CMAKE_SHARED_LIBRARY_PREFIX}natten_mps${CMAKE_SHARED_LIBRARY_SUFFIX}"
    INTERFACE_INCLUDE_DIRECTORIES "${_natten_mps_prefix}/include")
endif()
unset(_natten_mps_prefix)
